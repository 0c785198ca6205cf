#include <immintrin.h>

#include "cpu/kernels/activation/activation_kernels.hpp"
#include "cpu/kernels/exp_avx512.hpp"

namespace dodeca::cpu::avx512 {
namespace {

__m512 swiglu_ps(__m512 gate, __m512 up) {
  const __m512 x = _mm512_max_ps(_mm512_set1_ps(-0x1.fffffep+127f), gate);
  const __m512 e = exp_ps(_mm512_or_ps(x, _mm512_set1_ps(-0.0f)));
  const __m512 numerator = _mm512_mask_mul_ps(x, _mm512_movepi32_mask(_mm512_castps_si512(x)), x, e);
  return _mm512_mul_ps(_mm512_div_ps(numerator, _mm512_add_ps(_mm512_set1_ps(1.0f), e)), up);
}

__m512 clamped_swiglu_ps(__m512 gate, __m512 up) {
  const __m512 limit = _mm512_set1_ps(7.0f), one = _mm512_set1_ps(1.0f);
  const __m512 g = _mm512_min_ps(limit, _mm512_max_ps(_mm512_set1_ps(-100.0f), gate));
  const __m512 u = _mm512_min_ps(limit, _mm512_max_ps(_mm512_set1_ps(-7.0f), up));
  const __m512 slope = _mm512_mul_ps(_mm512_set1_ps(1.702f), g);
  const __m512 e = exp_ps(_mm512_or_ps(slope, _mm512_set1_ps(-0.0f)));
  const __m512 numerator = _mm512_mask_mul_ps(g, _mm512_movepi32_mask(_mm512_castps_si512(g)), g, e);
  return _mm512_mul_ps(_mm512_div_ps(numerator, _mm512_add_ps(one, e)), _mm512_add_ps(u, one));
}

template <class F>
void for_vectors(const float* gate, const float* up, std::int64_t n, float* out, F&& f) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(out + i, f(_mm512_loadu_ps(gate + i), _mm512_loadu_ps(up + i)));
  if (i < n) {
    const __mmask16 mask = static_cast<__mmask16>((1u << (n - i)) - 1u);
    const __m512 result = f(_mm512_maskz_loadu_ps(mask, gate + i), _mm512_maskz_loadu_ps(mask, up + i));
    _mm512_mask_storeu_ps(out + i, mask, result);
  }
}

}  // namespace

void swiglu(const float* gate, const float* up, std::int64_t n, float* out) noexcept {
  for_vectors(gate, up, n, out, [](__m512 g, __m512 u) { return swiglu_ps(g, u); });
}

void clamped_swiglu(const float* gate, const float* up, std::int64_t n, float* out) noexcept {
  for_vectors(gate, up, n, out, [](__m512 g, __m512 u) { return clamped_swiglu_ps(g, u); });
}

}  // namespace dodeca::cpu::avx512
