// Products with the types of 32-weight blocks. Layouts: quant/formats.
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/matmul/vnni.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu::avx512_vnni {
namespace {

// Eight blocks decoded for gemm.
struct alignas(64) Decoded {
  std::uint8_t codes[8][8][64];  // block, unit, lane
  float d[8][16], m[8][16];
};

// Format gives Tile, kOffset (what codes are above the weights), kMin, codes(body, unit vectors), and factor(header)
// where the header holds no f16.
template <class Format>
struct SmallBlocks : Policy {
  using Act = Q8Block32;
  using Decoded = avx512_vnni::Decoded;
  static constexpr int kStep = 8;

  DODECA_INLINE static __m512 factor(const std::byte* header) { return halves(header); }

  // The part of a block that is left once its codes are multiplied.
  template <bool kMin>
  DODECA_INLINE static __m512 fold(__m512 acc, __m512 d, __m512 m, const Q8Block32& x, __m512i isum) {
    acc = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(x.scale)), to_float(isum), acc);
    if constexpr (kMin) acc = _mm512_fmadd_ps(m, _mm512_set1_ps(x.scale * static_cast<float>(x.sum)), acc);
    return acc;
  }

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block32* const* x,
                                 __m512* acc) {
    __m512i codes[8], even[C], odd[C];
    Format::codes(body, codes);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      even[c] = _mm512_set1_epi32(-Format::kOffset * x[c]->sum);
      odd[c] = _mm512_setzero_si512();
    }
#pragma GCC unroll 4
    for (int u = 0; u < 8; u += 2) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        even[c] = dot4_at(even[c], codes[u], x[c]->q + 4 * u);
        odd[c] = dot4_at(odd[c], codes[u + 1], x[c]->q + 4 * u + 4);
      }
    }
    const __m512 d = Format::factor(header), m = Format::kMin ? halves(header + 32) : _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) acc[c] = fold<Format::kMin>(acc[c], d, m, *x[c], _mm512_add_epi32(even[c], odd[c]));
  }

  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int n_blocks, Decoded& out) {
    for (int b = 0; b < n_blocks; ++b) {
      const std::byte* header = tile + Format::Tile::header(block + b);
      _mm512_store_ps(out.d[b], Format::factor(header));
      if constexpr (Format::kMin) _mm512_store_ps(out.m[b], halves(header + 32));
      __m512i codes[8];
      Format::codes(tile + Format::Tile::body(block + b), codes);
#pragma GCC unroll 8
      for (int u = 0; u < 8; ++u) store(out.codes[b][u], codes[u]);
    }
  }

  template <int T, int C>
  DODECA_INLINE static void multiply(const Decoded* w, const Q8Block32* const* x, int n_blocks, float* at) {
    __m512 acc[C][T];
#pragma GCC unroll 6
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
      for (int t = 0; t < T; ++t) acc[c][t] = _mm512_load_ps(at + (c * T + t) * kTileRows);
    }
    for (int b = 0; b < n_blocks; ++b) {
      __m512i isum[C][T];
#pragma GCC unroll 6
      for (int c = 0; c < C; ++c) {
        const __m512i offset = _mm512_set1_epi32(-Format::kOffset * x[c][b].sum);
#pragma GCC unroll 2
        for (int t = 0; t < T; ++t) isum[c][t] = offset;
      }
#pragma GCC unroll 8
      for (int u = 0; u < 8; ++u) {
        __m512i codes[T];
#pragma GCC unroll 2
        for (int t = 0; t < T; ++t) codes[t] = load(w[t].codes[b][u]);
#pragma GCC unroll 6
        for (int c = 0; c < C; ++c) {
          const __m512i four = spread(x[c][b].q + 4 * u);
#pragma GCC unroll 2
          for (int t = 0; t < T; ++t) isum[c][t] = dot4(isum[c][t], codes[t], four);
        }
      }
#pragma GCC unroll 2
      for (int t = 0; t < T; ++t) {
        const __m512 d = _mm512_load_ps(w[t].d[b]), m = Format::kMin ? _mm512_load_ps(w[t].m[b]) : d;
#pragma GCC unroll 6
        for (int c = 0; c < C; ++c) acc[c][t] = fold<Format::kMin>(acc[c][t], d, m, x[c][b], isum[c][t]);
      }
    }
#pragma GCC unroll 6
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
      for (int t = 0; t < T; ++t) _mm512_store_ps(at + (c * T + t) * kTileRows, acc[c][t]);
    }
  }
};

DODECA_INLINE void nibbles(const std::byte* at, __m512i* codes) {
  const __m512i low = bytes(0x0f);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i v = load(at + 64 * i);
    codes[2 * i] = _mm512_and_si512(v, low);
    codes[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi32(v, 4), low);
  }
}
DODECA_INLINE void fives(const std::byte* plane, const std::byte* at, __m512i* codes) {
  const __m512i high = load(plane), low4 = bytes(0x0f), high4 = bytes(0xf0);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i v = load(at + 64 * i);
    const __m512i bits = i < 2 ? _mm512_slli_epi32(high, 3 - 2 * i) : _mm512_srli_epi32(high, 2 * i - 3);
    codes[2 * i] = and_or(v, low4, _mm512_and_si512(bits, bytes(0x10)));
    const __m512i odd = and_or(v, high4, _mm512_and_si512(bits, bytes(0x08)));
    codes[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi32(odd, 3), bytes(0x1f));
  }
}
DODECA_INLINE void looked_up(const std::byte* at, const quant::BiasedTable& values, __m512i* codes) {
  const __m512i table = table16(values.value);
  nibbles(at, codes);
#pragma GCC unroll 8
  for (int u = 0; u < 8; ++u) codes[u] = _mm512_shuffle_epi8(table, codes[u]);
}

template <class TileType, int kOffset_, bool kMin_>
struct Nibbles : SmallBlocks<Nibbles<TileType, kOffset_, kMin_>> {
  using Tile = TileType;
  static constexpr int kOffset = kOffset_;
  static constexpr bool kMin = kMin_;
  DODECA_INLINE static void codes(const std::byte* body, __m512i* out) { nibbles(body + Tile::kCodes, out); }
};
template <class TileType, int kOffset_, bool kMin_>
struct Fives : SmallBlocks<Fives<TileType, kOffset_, kMin_>> {
  using Tile = TileType;
  static constexpr int kOffset = kOffset_;
  static constexpr bool kMin = kMin_;
  DODECA_INLINE static void codes(const std::byte* body, __m512i* out) {
    fives(body + Tile::kHighBits, body + Tile::kCodes, out);
  }
};
using Q4_0 = Nibbles<quant::TileQ4_0, 8, false>;
using Q4_1 = Nibbles<quant::TileQ4_1, 0, true>;
using Q5_0 = Fives<quant::TileQ5_0, 16, false>;
using Q5_1 = Fives<quant::TileQ5_1, 0, true>;

struct Q6_0 : SmallBlocks<Q6_0> {
  using Tile = quant::TileQ6_0;
  static constexpr int kOffset = 32;
  static constexpr bool kMin = false;
  DODECA_INLINE static void codes(const std::byte* body, __m512i* out) {
#pragma GCC unroll 2
    for (int g = 0; g < 2; ++g) {
      sixes(body + Tile::kCodes + 192 * g, out + 4 * g);
      out[4 * g + 1] = quarter(out[4 * g + 1]);
      out[4 * g + 3] = quarter(out[4 * g + 3]);
    }
  }
};

struct Q8_0 : SmallBlocks<Q8_0> {
  using Tile = quant::TileQ8_0;
  static constexpr int kOffset = 128;
  static constexpr bool kMin = false;
  DODECA_INLINE static void codes(const std::byte* body, __m512i* out) {
#pragma GCC unroll 8
    for (int u = 0; u < 8; ++u) out[u] = load(body + Tile::kCodes + 64 * u);
  }
};

struct IQ4_NL : SmallBlocks<IQ4_NL> {
  using Tile = quant::TileIQ4_NL;
  static constexpr int kOffset = 128;
  static constexpr quant::BiasedTable kValues = quant::biased(quant::kIq4Values, kOffset);
  static constexpr bool kMin = false;
  DODECA_INLINE static void codes(const std::byte* body, __m512i* out) { looked_up(body + Tile::kCodes, kValues, out); }
};

struct MXFP4 : SmallBlocks<MXFP4> {
  using Tile = quant::TileMXFP4;
  static constexpr int kOffset = 12;
  static constexpr quant::BiasedTable kValues = quant::biased(quant::kDoubledE2M1, kOffset);
  static constexpr bool kMin = false;
  DODECA_INLINE static void codes(const std::byte* body, __m512i* out) { looked_up(body + Tile::kCodes, kValues, out); }
  // 2^(e - 128): exponents 0 and 1 are subnormal floats, 255 is NaN.
  DODECA_INLINE static __m512 factor(const std::byte* header) {
    const __m512i e = _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(header)));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    const __m512i bits = _mm512_mask_mov_epi32(normal, _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2)), tiny);
    const __mmask16 nan = _mm512_cmpeq_epi32_mask(e, _mm512_set1_epi32(255));
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(bits, nan, _mm512_set1_epi32(0x7fc00000)));
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

}  // namespace dodeca::cpu::avx512_vnni
