#include <immintrin.h>

#include "cpu/kernels/norm/norm_kernels.hpp"

namespace dodeca::cpu::avx512 {
namespace {

__mmask16 mask_of(std::int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }

float sum_pairwise(__m512 s) {
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

}  // namespace

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out) noexcept {
  __m512 sum = _mm512_setzero_ps();
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m512 a = _mm512_loadu_ps(x + i);
    sum = _mm512_fmadd_ps(a, a, sum);
  }
  if (i < n) {
    const __m512 a = _mm512_maskz_loadu_ps(mask_of(n - i), x + i);
    sum = _mm512_fmadd_ps(a, a, sum);
  }
  const __m128 mean = _mm_set_ss(sum_pairwise(sum) / static_cast<float>(n) + eps);
  const __m512 inverse = _mm512_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(mean)));
  for (i = 0; i + 16 <= n; i += 16) {
    const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x + i), inverse);
    _mm512_storeu_ps(out + i, _mm512_mul_ps(scaled, _mm512_loadu_ps(weight + i)));
  }
  if (i < n) {
    const __mmask16 mask = mask_of(n - i);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), inverse);
    _mm512_mask_storeu_ps(out + i, mask, _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(mask, weight + i)));
  }
}

float add_and_weigh(const float* x, const float* add, const float* weight, std::int64_t n, float* sum,
                    float* out) noexcept {
  __m512 lanes = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = n - i >= 16 ? 0xffff : mask_of(n - i);
    __m512 value = _mm512_maskz_loadu_ps(mask, x + i);
    if (add != nullptr) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, add + i));
    lanes = _mm512_fmadd_ps(value, value, lanes);
    _mm512_mask_storeu_ps(sum + i, mask, value);
    _mm512_mask_storeu_ps(out + i, mask, _mm512_mul_ps(value, _mm512_maskz_loadu_ps(mask, weight + i)));
  }
  return sum_pairwise(lanes);
}

}  // namespace dodeca::cpu::avx512
