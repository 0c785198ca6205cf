// Products with the K types and IQ4_XS. Layouts: tiles.hpp.
#include "cpu/kernels/matmul/avx2.hpp"
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/quantize_act/q8_blocks.hpp"

namespace dodeca::cpu::avx2 {
namespace {

DODECA_INLINE __m256 fold(__m256 acc, __m256 d, const Q8Block256& x, __m256i isum) {
  return _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(x.scale)), to_float(isum), acc);
}
DODECA_INLINE __m256 fold_min(__m256 acc, __m256 dmin, const Q8Block256& x, __m256i msum) {
  return _mm256_fnmadd_ps(_mm256_mul_ps(dmin, _mm256_set1_ps(x.scale)), to_float(msum), acc);
}

// One super-block decoded for gemm.
struct alignas(64) Decoded {
  std::uint8_t codes[64][64];   // unit, lane
  std::int16_t scales[16][32];  // the scale in both halves of its lane
  std::int16_t pairs[8][32];    // minima, or scales, of neighbouring sub-blocks, to multiply with sums
  float d[16], m[16];
};

// The shape of all kernels here. Format gives
//   kScales                sub-blocks per super-block, 16 or 8
//   kUnits                 units whose products may be added as i16
//   kSigned                codes are signed
//   kMins                  pairs of minima: 8, 4, or 0 for none
//   kOffsetShift           codes are 2^kOffsetShift above the weights (pairs then hold the scales); -1: they are not
//   Half(header, body, h)  the rows of half h: units(i, codes) of sub-block i, scale(i), and pair(p)
template <class Format>
struct SuperBlocks : Policy {
  using Act = Q8Block256;
  using Decoded = avx2::Decoded;
  static constexpr int kStep = 1;

  DODECA_INLINE static __m256i product(__m256i codes, __m256i x) {
    return Format::kSigned ? signed_pairs(codes, x) : pairs(codes, x);
  }
  DODECA_INLINE static const std::int16_t* sums(const Q8Block256& x, int p) {
    return (Format::kScales == 16 ? x.sums16 : x.sums32) + 2 * p;
  }

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block256* const* x, Acc* acc) {
    for (int h = 0; h < 2; ++h) half_dots<C>(header, body, h, x, acc);
  }

  template <int C>
  DODECA_INLINE static void half_dots(const std::byte* header, const std::byte* body, int h, const Q8Block256* const* x,
                                      Acc* acc) {
    constexpr int kSubUnits = 64 / Format::kScales;
    constexpr bool kPairs = Format::kMins != 0 || Format::kOffsetShift >= 0;
    const typename Format::Half half(header, body, h);
    __m256i isum[C], psum[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) isum[c] = psum[c] = _mm256_setzero_si256();
#pragma GCC unroll 16
    for (int i = 0; i < Format::kScales; ++i) {
      const __m256i scale = half.scale(i);
      const int first = kSubUnits * i;
      __m256i codes[kSubUnits];
      half.units(i, codes);
#pragma GCC unroll 8
      for (int u = 0; u < kSubUnits; u += Format::kUnits) {
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
          const std::int8_t* q = x[c]->q + 4 * (first + u);
          __m256i part = product(codes[u], spread(q));
#pragma GCC unroll 8
          for (int j = 1; j < Format::kUnits; ++j) part = add16(part, product(codes[u + j], spread(q + 4 * j)));
          isum[c] = dot2(isum[c], part, scale);
        }
      }
      if constexpr (kPairs) {
        if (i % 2 == 1) {
          const __m256i pair = half.pair(i / 2);
#pragma GCC unroll 4
          for (int c = 0; c < C; ++c) psum[c] = dot2(psum[c], pair, spread(sums(*x[c], i / 2)));
        }
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      if constexpr (Format::kOffsetShift >= 0) {
        isum[c] = _mm256_sub_epi32(isum[c], _mm256_slli_epi32(psum[c], Format::kOffsetShift));
      }
      __m256 v = fold(acc[c].half[h], halves(header, h), *x[c], isum[c]);
      if constexpr (Format::kMins != 0) v = fold_min(v, halves(header + 32, h), *x[c], psum[c]);
      acc[c].half[h] = v;
    }
  }

  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int, Decoded& out) {
    constexpr int kSubUnits = 64 / Format::kScales;
    const std::byte *header = tile + Format::Tile::header(block), *body = tile + Format::Tile::body(block);
    for (int h = 0; h < 2; ++h) {
      const typename Format::Half half(header, body, h);
      _mm256_store_ps(out.d + 8 * h, halves(header, h));
      if constexpr (Format::kMins != 0) _mm256_store_ps(out.m + 8 * h, halves(header + 32, h));
#pragma GCC unroll 16
      for (int i = 0; i < Format::kScales; ++i) {
        store(out.scales[i] + 16 * h, half.scale(i));
        if constexpr (Format::kMins != 0 || Format::kOffsetShift >= 0) {
          if (i % 2 == 1) store(out.pairs[i / 2] + 16 * h, half.pair(i / 2));
        }
        __m256i codes[kSubUnits];
        half.units(i, codes);
#pragma GCC unroll 8
        for (int u = 0; u < kSubUnits; ++u) store(out.codes[kSubUnits * i + u] + 32 * h, codes[u]);
      }
    }
  }

  template <int T, int C>
  DODECA_INLINE static void multiply(const Decoded* w, const Q8Block256* const* x, int, float* acc) {
    constexpr int kSubUnits = 64 / Format::kScales;
    __m256i isum[C][2];
    for (int c = 0; c < C; ++c) isum[c][0] = isum[c][1] = _mm256_setzero_si256();
    for (int i = 0; i < Format::kScales; ++i) {
#pragma GCC unroll 8
      for (int u = 0; u < kSubUnits; u += Format::kUnits) {
        __m256i part[C][2];
#pragma GCC unroll 8
        for (int j = 0; j < Format::kUnits; ++j) {
          const std::uint8_t* codes = w->codes[kSubUnits * i + u + j];
          const __m256i half[2] = {load(codes), load(codes + 32)};
#pragma GCC unroll 3
          for (int c = 0; c < C; ++c) {
            const __m256i four = spread(x[c]->q + 4 * (kSubUnits * i + u + j));
#pragma GCC unroll 2
            for (int h = 0; h < 2; ++h) {
              const __m256i two = product(half[h], four);
              part[c][h] = j == 0 ? two : add16(part[c][h], two);
            }
          }
        }
#pragma GCC unroll 3
        for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
          for (int h = 0; h < 2; ++h) isum[c][h] = dot2(isum[c][h], part[c][h], load(w->scales[i] + 16 * h));
        }
      }
    }
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        __m256i psum = _mm256_setzero_si256();
        if constexpr (Format::kMins != 0 || Format::kOffsetShift >= 0) {
#pragma GCC unroll 8
          for (int p = 0; p < Format::kScales / 2; ++p) {
            psum = dot2(psum, load(w->pairs[p] + 16 * h), spread(sums(*x[c], p)));
          }
        }
        if constexpr (Format::kOffsetShift >= 0) {
          isum[c][h] = _mm256_sub_epi32(isum[c][h], _mm256_slli_epi32(psum, Format::kOffsetShift));
        }
        float* at = acc + c * kTileRows + 8 * h;
        __m256 v = fold(_mm256_load_ps(at), _mm256_load_ps(w->d + 8 * h), *x[c], isum[c][h]);
        if constexpr (Format::kMins != 0) v = fold_min(v, _mm256_load_ps(w->m + 8 * h), *x[c], psum);
        _mm256_store_ps(at, v);
      }
    }
  }
};

// Byte of sub-block 4s + i in its lane of scale vector s, moved to both halves of the lane.
DODECA_INLINE __m256i byte_twice(__m256i four, int i) {
  constexpr int kPlace[4] = {0, 2, 1, 3};
  const __m256i first = _mm256_broadcastsi128_si256(
      _mm_set_epi64x(static_cast<long long>(0x800c800c80088008), static_cast<long long>(0x8004800480008000)));
  return _mm256_shuffle_epi8(four, _mm256_add_epi8(first, _mm256_set1_epi16(static_cast<short>(kPlace[i]))));
}

struct Q2_K : SuperBlocks<Q2_K> {
  using Tile = TileQ2_K;
  static constexpr int kScales = 16, kUnits = 4, kMins = 8, kOffsetShift = -1;
  static constexpr bool kSigned = false;

  struct Half {
    const std::byte* at;
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
    DODECA_INLINE __m256i scale(int i) const {
      return byte_twice(_mm256_and_si256(load(at + Tile::kScales + 64 * (i / 4)), bytes(0x0f)), i % 4);
    }
    DODECA_INLINE __m256i pair(int p) const {
      const __m256i both = load(at + Tile::kScales + 64 * (p / 2));
      return _mm256_and_si256(_mm256_srli_epi32(both, 8 * (p % 2) + 4), _mm256_set1_epi32(0x000f000f));
    }
    DODECA_INLINE void units(int i, __m256i* codes) const {
      const __m256i v = load(at + Tile::kCodes + 64 * i);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) codes[j] = _mm256_and_si256(_mm256_srli_epi32(v, 2 * j), bytes(0x03));
    }
  };
};

struct Q3_K : SuperBlocks<Q3_K> {
  using Tile = TileQ3_K;
  static constexpr int kScales = 16, kUnits = 4, kMins = 0, kOffsetShift = 2;
  static constexpr bool kSigned = false;

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
      const __m256i v = load(at + Tile::kCodes + 64 * i), plane = load(at + Tile::kHighBits + 64 * (i / 2));
      const __m256i h = i % 2 == 0 ? plane : _mm256_slli_epi32(plane, 2);
      const __m256i low = bytes(0x33), bit = bytes(0x44), three = bytes(0x07);
      const __m256i even = and_or(v, low, _mm256_and_si256(h, bit));
      const __m256i odd = and_or(_mm256_srli_epi32(v, 2), low, _mm256_and_si256(_mm256_srli_epi32(h, 1), bit));
      codes[0] = _mm256_and_si256(even, three);
      codes[1] = _mm256_and_si256(odd, three);
      codes[2] = _mm256_and_si256(_mm256_srli_epi32(even, 4), three);
      codes[3] = _mm256_and_si256(_mm256_srli_epi32(odd, 4), three);
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
  using Tile = TileQ4_K;
  static constexpr int kScales = 8, kUnits = 8, kMins = 4, kOffsetShift = -1;
  static constexpr bool kSigned = false;

  struct Half : SixBits<Tile> {
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h) : SixBits(body, h) {}
    DODECA_INLINE void units(int i, __m256i* codes) const {
      const __m256i low = bytes(0x0f);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m256i v = load(at + Tile::kCodes + 64 * (4 * i + j));
        codes[2 * j] = _mm256_and_si256(v, low);
        codes[2 * j + 1] = _mm256_and_si256(_mm256_srli_epi32(v, 4), low);
      }
    }
  };
};

struct Q5_K : SuperBlocks<Q5_K> {
  using Tile = TileQ5_K;
  static constexpr int kScales = 8, kUnits = 4, kMins = 4, kOffsetShift = -1;
  static constexpr bool kSigned = false;

  struct Half : SixBits<Tile> {
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h) : SixBits(body, h) {}
    DODECA_INLINE void units(int i, __m256i* codes) const {
      const __m256i plane = load(at + Tile::kHighBits + 64 * i);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m256i v = load(at + Tile::kCodes + 64 * (4 * i + j));
        const __m256i bits = j < 2 ? _mm256_slli_epi32(plane, 3 - 2 * j) : _mm256_srli_epi32(plane, 2 * j - 3);
        codes[2 * j] = and_or(v, bytes(0x0f), _mm256_and_si256(bits, bytes(0x10)));
        const __m256i odd = and_or(v, bytes(0xf0), _mm256_and_si256(bits, bytes(0x08)));
        codes[2 * j + 1] = _mm256_and_si256(_mm256_srli_epi32(odd, 3), bytes(0x1f));
      }
    }
  };
};

struct Q6_K : SuperBlocks<Q6_K> {
  using Tile = TileQ6_K;
  static constexpr int kScales = 16, kUnits = 2, kMins = 0, kOffsetShift = 5;
  static constexpr bool kSigned = false;

  struct Half {
    const std::byte* at;
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
    DODECA_INLINE __m256i pair(int p) const {
      const __m256i four = load(at + Tile::kScales + 64 * (p / 2));
      return _mm256_srai_epi16(p % 2 == 0 ? _mm256_slli_epi16(four, 8) : four, 8);
    }
    DODECA_INLINE __m256i scale(int i) const { return both_halves(pair(i / 2), i % 2); }
    DODECA_INLINE void units(int i, __m256i* codes) const {
      const __m256i plane = load(at + Tile::kHighBits + 64 * i), a = load(at + Tile::kCodes + 128 * i),
                    b = load(at + Tile::kCodes + 128 * i + 64);
      const __m256i low = bytes(0x0f), high = bytes(0xf0), top2 = bytes(0x30), last2 = bytes(0x0c), six = bytes(0x3f);
      codes[0] = and_or(a, low, _mm256_and_si256(_mm256_slli_epi32(plane, 4), top2));
      codes[1] = _mm256_and_si256(_mm256_srli_epi32(and_or(a, high, _mm256_and_si256(plane, last2)), 2), six);
      codes[2] = and_or(b, low, _mm256_and_si256(plane, top2));
      codes[3] = _mm256_and_si256(
          _mm256_srli_epi32(and_or(b, high, _mm256_and_si256(_mm256_srli_epi32(plane, 4), last2)), 2), six);
    }
  };
};

struct IQ4_XS : SuperBlocks<IQ4_XS> {
  using Tile = TileIQ4_XS;
  static constexpr int kScales = 8, kUnits = 1, kMins = 0, kOffsetShift = -1;
  static constexpr bool kSigned = true;

  struct Half {
    const std::byte* at;
    __m256i low, high, table;
    DODECA_INLINE Half(const std::byte* header, const std::byte* body, int h)
        : at(body + 32 * h),
          low(load(body + 32 * h + Tile::kScales)),
          high(_mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(header + 32 + 16 * h)))),
          table(_mm256_broadcastsi128_si256(
              _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113))) {}
    DODECA_INLINE __m256i scale(int i) const {
      const __m256i nibble =
          _mm256_and_si256(_mm256_srli_epi32(low, 4 * (i / 2) + 16 * (i % 2)), _mm256_set1_epi32(15));
      const __m256i top = i < 2 ? _mm256_slli_epi32(high, 4 - 2 * i) : _mm256_srli_epi32(high, 2 * i - 4);
      const __m256i six = _mm256_or_si256(nibble, _mm256_and_si256(top, _mm256_set1_epi32(48)));
      return both_halves(_mm256_sub_epi16(six, _mm256_set1_epi16(32)), 0);
    }
    DODECA_INLINE void units(int i, __m256i* codes) const {
      const __m256i mask = bytes(0x0f);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m256i v = load(at + Tile::kCodes + 64 * (4 * i + j));
        codes[2 * j] = _mm256_shuffle_epi8(table, _mm256_and_si256(v, mask));
        codes[2 * j + 1] = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi32(v, 4), mask));
      }
    }
  };
};

}  // namespace

DODECA_MATMUL(q2_k, Q2_K)
DODECA_MATMUL(q3_k, Q3_K)
DODECA_MATMUL(q4_k, Q4_K)
DODECA_MATMUL(q5_k, Q5_K)
DODECA_MATMUL(q6_k, Q6_K)
DODECA_MATMUL(iq4_xs, IQ4_XS)

}  // namespace dodeca::cpu::avx2
