// The shape of the avx512_vnni products with super-blocks of 256 columns. Internal linkage.
#pragma once

#include "cpu/kernels/matmul/vnni.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu::avx512_vnni {
namespace {

// acc + d*scale*isum, and - dmin*scale*msum: the float part of a super-block.
DODECA_INLINE __m512 fold(__m512 acc, __m512 d, const Q8Block256& x, __m512i isum) {
  return _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(x.scale)), to_float(isum), acc);
}
DODECA_INLINE __m512 fold_min(__m512 acc, __m512 dmin, const Q8Block256& x, __m512i msum) {
  return _mm512_fnmadd_ps(_mm512_mul_ps(dmin, _mm512_set1_ps(x.scale)), to_float(msum), acc);
}

// One super-block decoded for gemm.
struct alignas(64) Decoded {
  std::uint8_t codes[64][64];   // unit, lane
  std::int32_t scales[16][16];  // split_scale
  std::int16_t pairs[8][32];    // minima, or scales, of neighbouring sub-blocks, to multiply with sums
  float d[16], m[16];
  std::int32_t offset[16];  // of signed codes
};

// A scale of -128 to 127 as the words (scale, 256 scale), and a sum of at most 24 bits as (low byte, the rest): the
// product of the pairs is that of scale and sum.
DODECA_INLINE __m512i split_scale(__m512i scale) {
  return select(_mm512_set1_epi32(0xffff), scale, _mm512_slli_epi32(scale, 24));
}
DODECA_INLINE __m512i split_sum(__m512i sum) {
  return _mm512_shuffle_epi8(
      sum, _mm512_broadcast_i32x4(_mm_setr_epi8(0, -1, 1, 2, 4, -1, 5, 6, 8, -1, 9, 10, 12, -1, 13, 14)));
}

// Numbers of two sub-blocks, i16 pairs, one by one.
DODECA_INLINE __m512i first_scale(__m512i pair) { return _mm512_srai_epi32(_mm512_slli_epi32(pair, 16), 16); }
DODECA_INLINE __m512i second_scale(__m512i pair) { return _mm512_srai_epi32(pair, 16); }
// Signed bytes of sub-blocks 4s + 2p and 4s + 2p + 1, of vector s.
DODECA_INLINE __m512i byte_pair(__m512i four, int p) {
  return _mm512_srai_epi16(p == 0 ? _mm512_slli_epi16(four, 8) : four, 8);
}
// Six bits minus 32: nibbles at bits 4(p % 4), above them two bits of `high` at kWidth * p. Both in both halves.
template <int kWidth>
DODECA_INLINE __m512i signed_six_pair(__m512i nibbles, __m512i high, int p) {
  const __m512i low = _mm512_srli_epi32(nibbles, 4 * (p % 4));
  const int right = kWidth * p - 4;
  const __m512i top = right < 0 ? _mm512_slli_epi32(high, -right) : _mm512_srli_epi32(high, right);
  const __m512i six = _mm512_and_si512(select(_mm512_set1_epi32(0x000f000f), low, top), _mm512_set1_epi32(0x003f003f));
  return _mm512_sub_epi16(six, _mm512_set1_epi16(32));
}

// Sums of sub-blocks of C activation rows.
template <int C>
struct Sums {
  __m512i v[C];
  DODECA_INLINE Sums() {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) v[c] = _mm512_setzero_si512();
  }
  // Adds the products of a unit of codes with the four columns from `column` of the rows' super-blocks.
  DODECA_INLINE void add(__m512i codes, const Q8Block256* const* x, int column) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) v[c] = dot4_at(v[c], codes, x[c]->q + column);
  }
  // Adds other sums times a scale. For few rows vpmulld: splitting the scale would cost what it saves.
  DODECA_INLINE void add_scaled(const Sums& sums, __m512i scale) {
    if constexpr (C < 4) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) v[c] = _mm512_add_epi32(v[c], _mm512_mullo_epi32(sums.v[c], scale));
    } else {
      const __m512i split = split_scale(scale);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) v[c] = dot2(v[c], split, split_sum(sums.v[c]));
    }
  }
  // Adds the products of i16 pairs with two sums of activations.
  DODECA_INLINE void add16(__m512i pairs, const Q8Block256* const* x, int sub_block) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) v[c] = dot2_at(v[c], pairs, x[c]->sums16 + sub_block);
  }
  DODECA_INLINE void add32(__m512i pairs, const Q8Block256* const* x, int sub_block) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) v[c] = dot2_at(v[c], pairs, x[c]->sums32 + sub_block);
  }
};

// The shape of all gemm kernels here. Format gives
//   sum<T, C>(w, x, isum)   the integer sums of T tiles times C activation rows
//   kPairs                  pairs to multiply with sums of activations: minima, or scales of codes above the weights
//   kMins                   psum is folded as the minima; otherwise corrected(isum, psum, x) gives the isum to fold
//   kSignedCodes            codes are signed and 128 is added to the activations, in their copies if there are any:
//                           Decoded::offset, 128 times the scaled sum of the codes, is taken off
// and kMaxTiles = 4 where sum needs no registers but those of isum: fewer loads for each product.
template <class Format>
struct SuperBlocks : Policy {
  using Act = Q8Block256;
  using Decoded = avx512_vnni::Decoded;
  static constexpr int kStep = 1;

  template <int T, int C>
  DODECA_INLINE static void multiply(const Decoded* w, const Q8Block256* const* x, int, float* acc) {
    __m512i isum[T][C], psum[T][C];
    Format::template sum<T, C>(w, x, isum);
    const auto add = [&](int t, int c, __m512i sum) {
      float* at = acc + (c * T + t) * kTileRows;
      _mm512_store_ps(at, fold(_mm512_load_ps(at), _mm512_load_ps(w[t].d), *x[c], sum));
    };
    if constexpr (Format::kMins) {  // one after the other: both sums of 4 tiles would not fit the registers
      each<T, C>([&](int t, int c) { add(t, c, isum[t][c]); });
      sum_pairs<T, C>(w, x, psum);
      each<T, C>([&](int t, int c) {
        float* at = acc + (c * T + t) * kTileRows;
        _mm512_store_ps(at, fold_min(_mm512_load_ps(at), _mm512_load_ps(w[t].m), *x[c], psum[t][c]));
      });
    } else if constexpr (Format::kSignedCodes) {
      each<T, C>([&](int t, int c) { add(t, c, _mm512_sub_epi32(isum[t][c], load(w[t].offset))); });
    } else {
      sum_pairs<T, C>(w, x, psum);
      each<T, C>([&](int t, int c) { add(t, c, Format::corrected(isum[t][c], psum[t][c], *x[c])); });
    }
  }

  template <int T, int C, class Do>
  DODECA_INLINE static void each(Do&& what) {
#pragma GCC unroll 6
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) what(t, c);
    }
  }

  template <int T, int C>
  DODECA_INLINE static void sum_pairs(const Decoded* w, const Q8Block256* const* x, __m512i (&psum)[T][C]) {
    each<T, C>([&](int t, int c) { psum[t][c] = _mm512_setzero_si512(); });
#pragma GCC unroll 8
    for (int p = 0; p < Format::kPairs; ++p) {
      __m512i pairs[T];
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) pairs[t] = load(w[t].pairs[p]);
#pragma GCC unroll 6
      for (int c = 0; c < C; ++c) {
        const __m512i two = spread((Format::kPairs == 8 ? x[c]->sums16 : x[c]->sums32) + 2 * p);
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) psum[t][c] = dot2(psum[t][c], pairs[t], two);
      }
    }
  }

  // Codes already hold their sub-block's scale: one chain over all 64 units.
  template <int T, int C>
  DODECA_INLINE static void sum_flat(const Decoded* w, const Q8Block256* const* x, __m512i (&isum)[T][C]) {
    each<T, C>([&](int t, int c) { isum[t][c] = _mm512_setzero_si512(); });
#pragma GCC unroll 2
    for (int u = 0; u < 64; ++u) step<T, C>(w, x, u, isum);
  }

  // kUnits units at a time, each sum times its scale: in one product of words, the sum's low byte and its upper two, each
  // with its own word of a split_scale; vpmulld would be two uops on Intel.
  template <int T, int C, int kUnits>
  DODECA_INLINE static void sum_scaled(const Decoded* w, const Q8Block256* const* x, __m512i (&isum)[T][C]) {
    each<T, C>([&](int t, int c) { isum[t][c] = _mm512_setzero_si512(); });
    for (int g = 0; g < 64 / kUnits; ++g) {
      __m512i part[T][C];
      each<T, C>([&](int t, int c) { part[t][c] = _mm512_setzero_si512(); });
#pragma GCC unroll 8
      for (int j = 0; j < kUnits; ++j) step<T, C>(w, x, kUnits * g + j, part);
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const __m512i scale = load(w[t].scales[g]);
#pragma GCC unroll 6
        for (int c = 0; c < C; ++c) {
          isum[t][c] = dot2(isum[t][c], scale, split_sum(part[t][c]));
        }
      }
    }
  }

  template <int T, int C>
  DODECA_INLINE static void step(const Decoded* w, const Q8Block256* const* x, int u, __m512i (&sum)[T][C]) {
    __m512i codes[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) codes[t] = load(w[t].codes[u]);
#pragma GCC unroll 6
    for (int c = 0; c < C; ++c) {
      __m512i four = spread(x[c]->q + 4 * u);
      if constexpr (Format::kSignedCodes && !Format::kCopies)
        four = _mm512_xor_si512(four, bytes(-128));  // on ports that do not multiply
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        sum[t][c] = Format::kSignedCodes ? dot4(sum[t][c], four, codes[t]) : dot4(sum[t][c], codes[t], four);
      }
    }
  }
};

}  // namespace
}  // namespace dodeca::cpu::avx512_vnni
