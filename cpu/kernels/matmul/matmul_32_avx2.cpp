// Products with the types of 32-weight blocks. Layouts: quant/formats.
#include "cpu/kernels/matmul/avx2.hpp"
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu::avx2 {
namespace {

// Eight blocks decoded for gemm.
template <Codes kCodes>
struct alignas(64) DecodedBlocks {
  std::uint8_t codes[8][8][unit_bytes(kCodes)];                  // block, unit, lane
  std::int32_t missing[kCodes == Codes::kUnsigned ? 0 : 8][16];  // store_magnitudes
  float d[8][16], m[8][16];
};

// Format gives Tile, kOffset (what codes are above the weights), kUnits (whose products may be added as i16),
// codes(body + 32h, units), and factor(header, h) where the header holds no f16.
template <class Format, Codes kCodes = Codes::kUnsigned, bool kMin = false>
struct SmallBlocks : Policy {
  using Act = Q8Block32;
  using Decoded = DecodedBlocks<kCodes>;
  static constexpr bool kSigned = kCodes != Codes::kUnsigned;
  static constexpr int kStep = 8, kMaxTiles = kMin ? 2 : 1;
  static constexpr int kFewRows = 2;  // from three on, decoding once into L1 is cheaper

  DODECA_INLINE static __m256 factor(const std::byte* header, int h) { return halves(header, h); }
  DODECA_INLINE static __m256i product(__m256i codes, __m256i x) {
    return kSigned ? signed_pairs(codes, x) : pairs(codes, x);
  }

  // What minima are multiplied by.
  DODECA_INLINE static float min_factor(const Q8Block32& x) { return kMin ? x.scale * static_cast<float>(x.sum) : 0; }
  DODECA_INLINE static __m256 fold(__m256 acc, __m256 d, __m256 m, const Q8Block32& x, float of_min, __m256i isum) {
    if constexpr (Format::kOffset != 0) isum = _mm256_sub_epi32(isum, _mm256_set1_epi32(Format::kOffset * x.sum));
    acc = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(x.scale)), to_float(isum), acc);
    if constexpr (kMin) acc = _mm256_fmadd_ps(m, _mm256_set1_ps(of_min), acc);
    return acc;
  }

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block32* const* x, Acc* acc) {
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      __m256i codes[8];
      Format::codes(body + 32 * h, codes);
      const __m256 d = Format::factor(header, h), m = kMin ? halves(header + 32, h) : d;
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        __m256i isum = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int u = 0; u < 8; u += Format::kUnits) {
          const std::int8_t* q = x[c]->q + 4 * u;
          __m256i part = product(codes[u], spread(q));
#pragma GCC unroll 8
          for (int j = 1; j < Format::kUnits; ++j) part = add16(part, product(codes[u + j], spread(q + 4 * j)));
          isum = dot2(isum, part, ones);
        }
        acc[c].half[h] = fold(acc[c].half[h], d, m, *x[c], min_factor(*x[c]), isum);
      }
    }
  }

  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int n_blocks, Decoded& out) {
    for (int b = 0; b < n_blocks; ++b) {
      const std::byte *header = tile + Format::Tile::header(block + b), *body = tile + Format::Tile::body(block + b);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        _mm256_store_ps(out.d[b] + 8 * h, Format::factor(header, h));
        if constexpr (kMin) _mm256_store_ps(out.m[b] + 8 * h, halves(header + 32, h));
        __m256i codes[8], missing = _mm256_setzero_si256();
        Format::codes(body + 32 * h, codes);
#pragma GCC unroll 8
        for (int u = 0; u < 8; ++u) {
          if constexpr (kSigned) {
            missing = store_magnitudes(codes[u], out.codes[b][u] + 32 * h, missing);
          } else {
            store(out.codes[b][u] + 32 * h, codes[u]);
          }
        }
        if constexpr (kSigned) {
          store(out.missing[b] + 8 * h, _mm256_madd_epi16(missing, _mm256_set1_epi16(1)));
        }
      }
    }
  }

  template <int T, int C>
  DODECA_INLINE static void multiply(const Decoded* w, const Q8Block32* const* x, int n_blocks, float* at) {
    float of_min[C][kStep];
    for (int b = 0; kMin && b < n_blocks; ++b) {
#pragma GCC unroll 3
      for (int c = 0; c < C; ++c) of_min[c][b] = min_factor(x[c][b]);
    }
    for (int t = 0; t < T; ++t) {
      for (int b = 0; b < n_blocks; ++b) {
        __m256i isum[C][2];
        if constexpr (kSigned) {
          signed_sums<C>(w[t], x, b, isum);
        } else {
          unsigned_sums<C>(w[t], x, b, isum);
        }
#pragma GCC unroll 3
        for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
          for (int h = 0; h < 2; ++h) {
            float* acc = at + (c * T + t) * kTileRows + 8 * h;
            const __m256 d = _mm256_load_ps(w[t].d[b] + 8 * h), m = kMin ? _mm256_load_ps(w[t].m[b] + 8 * h) : d;
            _mm256_store_ps(acc, fold(_mm256_load_ps(acc), d, m, x[c][b], of_min[c][b], isum[c][h]));
          }
        }
      }
    }
  }

  template <int C>
  DODECA_INLINE static void signed_sums(const Decoded& w, const Q8Block32* const* x, int b, __m256i (&isum)[C][2]) {
    const __m256i ones = _mm256_set1_epi16(1);
    const std::int8_t* q[C];
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) {
      q[c] = x[c][b].q;
      isum[c][0] = load(w.missing[b]);
      isum[c][1] = load(w.missing[b] + 8);
    }
    scaled_byte_sums<kCodes, C, 8>(w.codes[b][0], q, {ones, ones}, isum);
  }

  template <int C>
  DODECA_INLINE static void unsigned_sums(const Decoded& w, const Q8Block32* const* x, int b, __m256i (&isum)[C][2]) {
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int u = 0; u < 8; u += Format::kUnits) {
      const std::int8_t* q[C];
#pragma GCC unroll 3
      for (int c = 0; c < C; ++c) q[c] = x[c][b].q + 4 * u;
      __m256i part[C][2];
      byte_sums<kCodes, C, Format::kUnits>(w.codes[b][u], q, part);
#pragma GCC unroll 3
      for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
          const __m256i four = _mm256_madd_epi16(part[c][h], ones);
          isum[c][h] = u == 0 ? four : _mm256_add_epi32(isum[c][h], four);
        }
      }
    }
  }
};

template <class TileType, int kOffset_, bool kMin_>
struct Nibbles : SmallBlocks<Nibbles<TileType, kOffset_, kMin_>, Codes::kUnsigned, kMin_> {
  using Tile = TileType;
  static constexpr int kOffset = kOffset_, kUnits = 8;
  DODECA_INLINE static void codes(const std::byte* at, __m256i* out) { nibbles(at + Tile::kCodes, out); }
};
template <class TileType, int kOffset_, bool kMin_>
struct Fives : SmallBlocks<Fives<TileType, kOffset_, kMin_>, Codes::kUnsigned, kMin_> {
  using Tile = TileType;
  static constexpr int kOffset = kOffset_, kUnits = 4;
  DODECA_INLINE static void codes(const std::byte* at, __m256i* out) {
    fives(at + Tile::kHighBits, at + Tile::kCodes, out);
  }
};
using Q4_0 = Nibbles<quant::TileQ4_0, 8, false>;
using Q4_1 = Nibbles<quant::TileQ4_1, 0, true>;
using Q5_0 = Fives<quant::TileQ5_0, 16, false>;
using Q5_1 = Fives<quant::TileQ5_1, 0, true>;

struct Q6_0 : SmallBlocks<Q6_0> {
  using Tile = quant::TileQ6_0;
  static constexpr int kOffset = 32, kUnits = 2;
  DODECA_INLINE static void codes(const std::byte* at, __m256i* out) {
    sixes(at + Tile::kCodes, out);
    sixes(at + Tile::kCodes + 192, out + 4);
  }
};

struct Q8_0 : SmallBlocks<Q8_0, Codes::kMagnitudes> {
  using Tile = quant::TileQ8_0;
  static constexpr int kFewRows = 4;  // as long as there is little to decode
  static constexpr int kOffset = 0, kUnits = 1;
  DODECA_INLINE static void codes(const std::byte* at, __m256i* out) {
#pragma GCC unroll 8
    for (int u = 0; u < 8; ++u) out[u] = _mm256_xor_si256(load(at + Tile::kCodes + 64 * u), bytes(0x80));
  }
};

struct IQ4_NL : SmallBlocks<IQ4_NL, Codes::kMagnitudes> {
  using Tile = quant::TileIQ4_NL;
  static constexpr int kOffset = 0, kUnits = 1;
  DODECA_INLINE static void codes(const std::byte* at, __m256i* out) {
    looked_up(at + Tile::kCodes, table16(quant::kIq4Values), out);
  }
};

struct MXFP4 : SmallBlocks<MXFP4> {
  using Tile = quant::TileMXFP4;
  static constexpr int kOffset = 12, kUnits = 4;
  static constexpr quant::BiasedTable kValues = quant::biased(quant::kDoubledE2M1, kOffset);
  DODECA_INLINE static void codes(const std::byte* at, __m256i* out) {
    looked_up(at + Tile::kCodes, table16(kValues.value), out);
  }
  // 2^(e - 128): exponents 0 and 1 are subnormal floats, 255 is NaN.
  DODECA_INLINE static __m256 factor(const std::byte* header, int h) {
    const __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(header + 8 * h)));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i bits = _mm256_blendv_epi8(normal, tiny, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e));
    const __m256i nan = _mm256_cmpeq_epi32(e, _mm256_set1_epi32(255));
    return _mm256_castsi256_ps(_mm256_blendv_epi8(bits, _mm256_set1_epi32(0x7fc00000), nan));
  }
};

}  // namespace

DODECA_MATMUL(q4_0, Q4_0)
DODECA_MATMUL(q4_1, Q4_1)
DODECA_MATMUL(q5_0, Q5_0)
DODECA_MATMUL(q5_1, Q5_1)
DODECA_MATMUL(q6_0, Q6_0)
DODECA_MATMUL(q8_0, Q8_0)
DODECA_MATMUL(iq4_nl, IQ4_NL)
DODECA_MATMUL(mxfp4, MXFP4)

}  // namespace dodeca::cpu::avx2
