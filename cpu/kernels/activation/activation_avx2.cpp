#include <immintrin.h>

#include "cpu/kernels/activation/activation_kernels.hpp"
#include "cpu/kernels/exp_avx2.hpp"

namespace dodeca::cpu::avx2 {
namespace {

__m256 swiglu_ps(__m256 gate, __m256 up) {
  const __m256 x = _mm256_max_ps(_mm256_set1_ps(-0x1.fffffep+127f), gate);
  const __m256 e = exp_ps(_mm256_or_ps(x, _mm256_set1_ps(-0.0f)));
  const __m256 numerator = _mm256_blendv_ps(x, _mm256_mul_ps(x, e), x);  // chosen by the sign bit
  return _mm256_mul_ps(_mm256_div_ps(numerator, _mm256_add_ps(_mm256_set1_ps(1.0f), e)), up);
}

__m256 clamped_swiglu_ps(__m256 gate, __m256 up) {
  const __m256 limit = _mm256_set1_ps(7.0f), one = _mm256_set1_ps(1.0f);
  const __m256 g = _mm256_min_ps(limit, _mm256_max_ps(_mm256_set1_ps(-100.0f), gate));
  const __m256 u = _mm256_min_ps(limit, _mm256_max_ps(_mm256_set1_ps(-7.0f), up));
  const __m256 slope = _mm256_mul_ps(_mm256_set1_ps(1.702f), g);
  const __m256 e = exp_ps(_mm256_or_ps(slope, _mm256_set1_ps(-0.0f)));
  const __m256 numerator = _mm256_blendv_ps(g, _mm256_mul_ps(g, e), g);
  return _mm256_mul_ps(_mm256_div_ps(numerator, _mm256_add_ps(one, e)), _mm256_add_ps(u, one));
}

template <class F>
void for_vectors(const float* gate, const float* up, std::int64_t n, float* out, F&& f) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, f(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
  if (i < n) {
    const __m256i mask =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n - i)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256 result = f(_mm256_maskload_ps(gate + i, mask), _mm256_maskload_ps(up + i, mask));
    _mm256_maskstore_ps(out + i, mask, result);
  }
}

}  // namespace

void swiglu(const float* gate, const float* up, std::int64_t n, float* out) noexcept {
  for_vectors(gate, up, n, out, [](__m256 g, __m256 u) { return swiglu_ps(g, u); });
}

void clamped_swiglu(const float* gate, const float* up, std::int64_t n, float* out) noexcept {
  for_vectors(gate, up, n, out, [](__m256 g, __m256 u) { return clamped_swiglu_ps(g, u); });
}

}  // namespace dodeca::cpu::avx2
