// Sixteen lanes (quant/encode/lanes.hpp). Only for files compiled with AVX-512.
#pragma once

#include <immintrin.h>

#include "quant/encode/lanes.hpp"

namespace dodeca::cpu::avx512 {
namespace {  // and so no template made of it leaves its object file

struct Lanes {
  static constexpr int kCount = 16;
  __m512 v;

  Lanes() = default;
  DODECA_LANE explicit Lanes(float value) : v(_mm512_set1_ps(value)) {}
  DODECA_LANE explicit Lanes(__m512 value) : v(value) {}
  DODECA_LANE static Lanes load(const float* src) { return Lanes(_mm512_loadu_ps(src)); }
  DODECA_LANE void store(float* dst) const { _mm512_storeu_ps(dst, v); }
  DODECA_LANE void store_codes(std::uint8_t* dst) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v)));
  }
  DODECA_LANE static Lanes lookup(const float* table, Lanes index) {
    return Lanes(
        _mm512_permutex2var_ps(_mm512_loadu_ps(table), _mm512_cvttps_epi32(index.v), _mm512_loadu_ps(table + 16)));
  }
  DODECA_LANE static __mmask16 mask(unsigned bits) { return static_cast<__mmask16>(bits); }
  DODECA_LANE static unsigned bits(__mmask16 mask) { return mask; }
  DODECA_LANE static void transpose(const float* src, int stride, float* dst) {
    __m512 a[16], b[16];
    for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_ps(src + i * stride);
    for (int i = 0; i < 16; i += 2) {
      b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
      b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {  // a[i + j]: column 4 * quarter + j of rows i..i+3
      a[i] = _mm512_shuffle_ps(b[i], b[i + 2], 0x44);
      a[i + 1] = _mm512_shuffle_ps(b[i], b[i + 2], 0xee);
      a[i + 2] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0x44);
      a[i + 3] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (int j = 0; j < 4; ++j) {
      const __m512 low = _mm512_shuffle_f32x4(a[j], a[j + 4], 0x88), high = _mm512_shuffle_f32x4(a[j], a[j + 4], 0xdd);
      const __m512 low2 = _mm512_shuffle_f32x4(a[j + 8], a[j + 12], 0x88),
                   high2 = _mm512_shuffle_f32x4(a[j + 8], a[j + 12], 0xdd);
      _mm512_storeu_ps(dst + 16 * j, _mm512_shuffle_f32x4(low, low2, 0x88));
      _mm512_storeu_ps(dst + 16 * (j + 8), _mm512_shuffle_f32x4(low, low2, 0xdd));
      _mm512_storeu_ps(dst + 16 * (j + 4), _mm512_shuffle_f32x4(high, high2, 0x88));
      _mm512_storeu_ps(dst + 16 * (j + 12), _mm512_shuffle_f32x4(high, high2, 0xdd));
    }
  }
};
DODECA_LANE Lanes operator+(Lanes a, Lanes b) { return Lanes(_mm512_add_ps(a.v, b.v)); }
DODECA_LANE Lanes operator-(Lanes a, Lanes b) { return Lanes(_mm512_sub_ps(a.v, b.v)); }
DODECA_LANE Lanes operator*(Lanes a, Lanes b) { return Lanes(_mm512_mul_ps(a.v, b.v)); }
DODECA_LANE Lanes operator/(Lanes a, Lanes b) { return Lanes(_mm512_div_ps(a.v, b.v)); }
DODECA_LANE Lanes operator-(Lanes a) { return Lanes(_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))); }
DODECA_LANE __mmask16 operator<(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
DODECA_LANE Lanes fma(Lanes a, Lanes b, Lanes c) { return Lanes(_mm512_fmadd_ps(a.v, b.v, c.v)); }
DODECA_LANE Lanes min(Lanes a, Lanes b) { return Lanes(_mm512_min_ps(a.v, b.v)); }
DODECA_LANE Lanes max(Lanes a, Lanes b) { return Lanes(_mm512_max_ps(a.v, b.v)); }
DODECA_LANE Lanes round(Lanes a) {
  const __m512 shift = _mm512_set1_ps(12582912.0f);
  return Lanes(_mm512_sub_ps(_mm512_add_ps(a.v, shift), shift));
}
DODECA_LANE Lanes select(__mmask16 mask, Lanes a, Lanes b) { return Lanes(_mm512_mask_blend_ps(mask, b.v, a.v)); }
DODECA_LANE float least(Lanes a) { return _mm512_reduce_min_ps(a.v); }

}  // namespace
}  // namespace dodeca::cpu::avx512
