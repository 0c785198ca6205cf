// Products with the K types, IQ4_XS and IQ4_KS. Layouts: quant/formats.
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/matmul/super_blocks_avx2.hpp"

namespace dodeca::cpu::avx2 {
namespace {

// Byte of sub-block 4s + i in its lane of scale vector s, moved to both halves of the lane.
DODECA_INLINE __m256i byte_twice(__m256i four, int i) {
  constexpr int kPlace[4] = {0, 2, 1, 3};
  const __m256i first = _mm256_broadcastsi128_si256(
      _mm_set_epi64x(static_cast<long long>(0x800c800c80088008), static_cast<long long>(0x8004800480008000)));
  return _mm256_shuffle_epi8(four, _mm256_add_epi8(first, _mm256_set1_epi16(static_cast<short>(kPlace[i]))));
}

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
      const __m256i low = _mm256_srli_epi32(load(at + Tile::kScales + 64 * (p / 4)), 4 * (p % 4));
      const __m256i top = p < 2 ? _mm256_slli_epi32(high, 4 - 2 * p) : _mm256_srli_epi32(high, 2 * p - 4);
      const __m256i six =
          _mm256_and_si256(select(_mm256_set1_epi32(0x000f000f), low, top), _mm256_set1_epi32(0x003f003f));
      return _mm256_sub_epi16(six, _mm256_set1_epi16(32));
    }
    DODECA_INLINE __m256i scale(int i) const { return both_halves(pair(i / 2), i % 2); }
    DODECA_INLINE void units(int i, __m256i* codes) const {
      const std::byte* three = at + Tile::codes(i / 2);
      const __m256i a = load(three), b = load(three + 64), seven = bytes(0x07);
      const auto pair = [&](__m256i v, __m256i* out) {
        out[0] = _mm256_and_si256(v, seven);
        out[1] = _mm256_and_si256(_mm256_srli_epi32(v, 3), seven);
      };
      if (i % 2 == 0) {
        pair(a, codes);
        pair(b, codes + 2);
      } else {
        const __m256i c = load(three + 128), low = bytes(0x03), third = bytes(0x04);
        pair(c, codes);
        codes[2] = and_or(_mm256_srli_epi32(a, 6), low, _mm256_and_si256(_mm256_srli_epi32(c, 4), third));
        codes[3] = and_or(_mm256_srli_epi32(b, 6), low, _mm256_and_si256(_mm256_srli_epi32(c, 5), third));
      }
    }
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
    DODECA_INLINE __m256i pair(int p) const {
      const __m256i four = load(at + Tile::scales(p / 2));
      return _mm256_srai_epi16(p % 2 == 0 ? _mm256_slli_epi16(four, 8) : four, 8);
    }
    DODECA_INLINE __m256i scale(int i) const { return both_halves(pair(i / 2), i % 2); }
    DODECA_INLINE void units(int i, __m256i* codes) const {
      const __m256i plane = load(at + Tile::high_bits(i)), a = load(at + Tile::codes(2 * i)),
                    b = load(at + Tile::codes(2 * i + 1));
      const __m256i low = bytes(0x0f), high = bytes(0xf0), top2 = bytes(0x30), last2 = bytes(0x0c), six = bytes(0x3f);
      codes[0] = and_or(a, low, _mm256_and_si256(_mm256_slli_epi32(plane, 4), top2));
      codes[1] = _mm256_and_si256(_mm256_srli_epi32(and_or(a, high, _mm256_and_si256(plane, last2)), 2), six);
      codes[2] = and_or(b, low, _mm256_and_si256(plane, top2));
      codes[3] = _mm256_and_si256(
          _mm256_srli_epi32(and_or(b, high, _mm256_and_si256(_mm256_srli_epi32(plane, 4), last2)), 2), six);
    }
  };
};

struct IQ4_XS : SuperBlocks<IQ4_XS, Codes::kMagnitudes> {
  using Tile = quant::TileIQ4_XS;
  static constexpr int kScales = 8, kUnits = 1, kMins = 0, kOffset = 0;

  struct Half {
    const std::byte* at;
    __m256i low, high, table;
    DODECA_INLINE Half(const std::byte* header, const std::byte* body, int h)
        : at(body + 32 * h),
          low(load(body + 32 * h + Tile::kScales)),
          high(_mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(header + 32 + 16 * h)))),
          table(table16(quant::kIq4Values)) {}
    DODECA_INLINE __m256i scale(int i) const {
      const __m256i nibble =
          _mm256_and_si256(_mm256_srli_epi32(low, 4 * (i / 2) + 16 * (i % 2)), _mm256_set1_epi32(15));
      const __m256i top = i < 2 ? _mm256_slli_epi32(high, 4 - 2 * i) : _mm256_srli_epi32(high, 2 * i - 4);
      const __m256i six = _mm256_or_si256(nibble, _mm256_and_si256(top, _mm256_set1_epi32(48)));
      return both_halves(_mm256_sub_epi16(six, _mm256_set1_epi16(32)), 0);
    }
    DODECA_INLINE void units(int i, __m256i* codes) const { looked_up(at + Tile::kCodes + 256 * i, table, codes); }
  };
};

// What bit 0 of a scale byte adds to the codes is added as a multiple of the activations' sums.
struct IQ4_KS : SuperBlocks<IQ4_KS, Codes::kMagnitudes> {
  using Tile = quant::TileIQ4_KS;
  static constexpr int kScales = 8, kUnits = 1, kMins = 0, kOffset = 1;

  DODECA_INLINE static __m256 factor(const std::byte* header, int h) {
    return _mm256_load_ps(reinterpret_cast<const float*>(header) + 8 * h);
  }
  // Words of scale bytes as the numbers that they stand for.
  DODECA_INLINE static __m256i number(__m256i words) {
    return _mm256_sub_epi16(_mm256_and_si256(words, _mm256_set1_epi16(254)), _mm256_set1_epi16(127));
  }

  struct Half {
    const std::byte* at;
    __m256i table;
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h)
        : at(body + 32 * h), table(table16(quant::kIq4Values)) {}
    DODECA_INLINE __m256i scale(int i) const { return number(byte_twice(load(at + Tile::scales(i / 4)), i % 4)); }
    DODECA_INLINE __m256i pair(int p) const {
      const __m256i four = load(at + Tile::scales(p / 2));
      const __m256i words = p % 2 == 0 ? _mm256_and_si256(four, _mm256_set1_epi16(255)) : _mm256_srli_epi16(four, 8);
      const __m256i shift =
          _mm256_mullo_epi16(_mm256_and_si256(words, _mm256_set1_epi16(1)), _mm256_set1_epi16(-quant::kIq4Shift));
      return _mm256_mullo_epi16(number(words), shift);
    }
    DODECA_INLINE void units(int i, __m256i* codes) const { looked_up(at + Tile::kCodes + 256 * i, table, codes); }
  };
};

}  // namespace

DODECA_MATMUL(q2_k, Q2_K)
DODECA_MATMUL(q3_k, Q3_K)
DODECA_MATMUL(q4_k, Q4_K)
DODECA_MATMUL(q5_k, Q5_K)
DODECA_MATMUL(q6_k, Q6_K)
DODECA_MATMUL(iq4_xs, IQ4_XS)
DODECA_MATMUL(iq4_ks, IQ4_KS)

}  // namespace dodeca::cpu::avx2
