// Products with the K types. Layouts: quant/formats.
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/matmul/super_blocks_avx2.hpp"

namespace dodeca::cpu::avx2 {
namespace {

struct Q2_K : SuperBlocks<Q2_K> {
  using Tile = quant::TileQ2_K;
  static constexpr int kScales = 16, kUnits = 4, kMins = 8, kOffset = 0, kOrderedRows = 1;

  struct Half {
    const std::byte* at;
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
    DODECA_INLINE __m256i scale(int i) const {
      return byte_twice(_mm256_and_si256(load(at + Tile::scales(i / 4)), bytes(0x0f)), i % 4);
    }
    DODECA_INLINE __m256i pair(int p) const {
      const __m256i both = load(at + Tile::scales(p / 2));
      return _mm256_and_si256(_mm256_srli_epi32(both, 8 * (p % 2) + 4), _mm256_set1_epi32(0x000f000f));
    }
    DODECA_INLINE void units(int i, __m256i* codes) const {
      const __m256i v = load(at + Tile::codes(i));
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) codes[j] = _mm256_and_si256(_mm256_srli_epi32(v, 2 * j), bytes(0x03));
    }
  };
};

struct Q3_K : SuperBlocks<Q3_K, Codes::kSigned> {
  using Tile = quant::TileQ3_K;
  static constexpr int kScales = 16, kUnits = 4, kMins = 0, kOffset = 4;
  static constexpr int kFetchFrom = 1;  // the hardware loses the stream, NOTES.md

  struct Half {
    const std::byte* at;
    __m256i high;
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h)
        : at(body + 32 * h), high(load(body + 32 * h + Tile::kHighScales)) {}
    DODECA_INLINE __m256i pair(int p) const {
      return signed_six_pair<2>(load(at + Tile::kScales + 64 * (p / 4)), high, p);
    }
    DODECA_INLINE __m256i scale(int i) const { return both_halves(pair(i / 2), i % 2); }
    DODECA_INLINE void units(int i, __m256i* codes) const { threes(at + Tile::codes(i / 2), i % 2, codes); }
  };
};

// Scales and minima of Q4_K and Q5_K.
template <class Tile>
struct SixBits {
  const std::byte* at;
  __m256i high;
  DODECA_INLINE SixBits(const std::byte* body, int h)
      : at(body + 32 * h), high(load(body + 32 * h + Tile::kHighScales)) {}
  template <int kShift>
  DODECA_INLINE __m256i six(int offset, int p) const {
    const int right = kShift + 2 * p - 4;
    const __m256i top = right < 0 ? _mm256_slli_epi32(high, -right) : _mm256_srli_epi32(high, right);
    const __m256i low = _mm256_srli_epi32(load(at + offset), 4 * p);
    return _mm256_and_si256(select(_mm256_set1_epi32(0x000f000f), low, top), _mm256_set1_epi32(0x003f003f));
  }
  DODECA_INLINE __m256i pair(int p) const { return six<8>(Tile::kMins, p); }
  DODECA_INLINE __m256i scale(int i) const { return both_halves(six<0>(Tile::kScales, i / 2), i % 2); }
};

struct Q4_K : SuperBlocks<Q4_K> {
  using Tile = quant::TileQ4_K;
  static constexpr int kScales = 8, kUnits = 8, kMins = 4, kOffset = 0;

  struct Half : SixBits<Tile> {
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h) : SixBits(body, h) {}
    DODECA_INLINE void units(int i, __m256i* codes) const { nibbles(at + Tile::kCodes + 256 * i, codes); }
  };
};

struct Q5_K : SuperBlocks<Q5_K> {
  using Tile = quant::TileQ5_K;
  static constexpr int kScales = 8, kUnits = 4, kMins = 4, kOffset = 0;

  struct Half : SixBits<Tile> {
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h) : SixBits(body, h) {}
    DODECA_INLINE void units(int i, __m256i* codes) const {
      fives(at + Tile::high_bits(i), at + Tile::codes(4 * i), codes);
    }
  };
};

struct Q6_K : SuperBlocks<Q6_K, Codes::kSigned> {
  using Tile = quant::TileQ6_K;
  static constexpr int kScales = 16, kUnits = 2, kMins = 0, kOffset = 32;

  struct Half {
    const std::byte* at;
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
    DODECA_INLINE __m256i pair(int p) const { return byte_pair(load(at + Tile::scales(p / 2)), p % 2); }
    DODECA_INLINE __m256i scale(int i) const { return both_halves(pair(i / 2), i % 2); }
    DODECA_INLINE void units(int i, __m256i* codes) const { sixes(at + Tile::high_bits(i), codes); }
  };
};

}  // namespace

DODECA_MATMUL(q2_k, Q2_K)
DODECA_MATMUL(q3_k, Q3_K)
DODECA_MATMUL(q4_k, Q4_K)
DODECA_MATMUL(q5_k, Q5_K)
DODECA_MATMUL(q6_k, Q6_K)

}  // namespace dodeca::cpu::avx2
