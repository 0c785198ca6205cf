#include <immintrin.h>

#include "cpu/kernels/norm/norm_kernels.hpp"

namespace dodeca::cpu::avx2 {
namespace {

// Lanes 0..count-1 of eight, for the tail.
__m256i mask_of(std::int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

float sum_pairwise(__m256 low, __m256 high) {
  const __m256 s8 = _mm256_add_ps(low, high);
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

}  // namespace

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out) noexcept {
  __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
    low = _mm256_fmadd_ps(a, a, low);
    high = _mm256_fmadd_ps(b, b, high);
  }
  if (i < n) {
    const __m256 a = _mm256_maskload_ps(x + i, mask_of(n - i)), b = _mm256_maskload_ps(x + i + 8, mask_of(n - i - 8));
    low = _mm256_fmadd_ps(a, a, low);
    high = _mm256_fmadd_ps(b, b, high);
  }
  const __m128 mean = _mm_set_ss(sum_pairwise(low, high) / static_cast<float>(n) + eps);
  const __m256 inverse = _mm256_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(mean)));
  for (i = 0; i + 8 <= n; i += 8) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), inverse);
    _mm256_storeu_ps(out + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
  }
  if (i < n) {
    const __m256i mask = mask_of(n - i);
    const __m256 scaled = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), inverse);
    _mm256_maskstore_ps(out + i, mask, _mm256_mul_ps(scaled, _mm256_maskload_ps(weight + i, mask)));
  }
}

float add_and_weigh(const float* x, const float* add, const float* weight, std::int64_t n, float* sum,
                    float* out) noexcept {
  __m256 lanes[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const std::int64_t at = i + 8 * h;
      __m256 value = _mm256_loadu_ps(x + at);
      if (add != nullptr) value = _mm256_add_ps(value, _mm256_loadu_ps(add + at));
      lanes[h] = _mm256_fmadd_ps(value, value, lanes[h]);
      _mm256_storeu_ps(sum + at, value);
      _mm256_storeu_ps(out + at, _mm256_mul_ps(value, _mm256_loadu_ps(weight + at)));
    }
  }
  for (int h = 0; h < 2 && i < n; ++h, i += 8) {
    const __m256i mask = mask_of(n - i);
    __m256 value = _mm256_maskload_ps(x + i, mask);
    if (add != nullptr) value = _mm256_add_ps(value, _mm256_maskload_ps(add + i, mask));
    lanes[h] = _mm256_fmadd_ps(value, value, lanes[h]);
    _mm256_maskstore_ps(sum + i, mask, value);
    _mm256_maskstore_ps(out + i, mask, _mm256_mul_ps(value, _mm256_maskload_ps(weight + i, mask)));
  }
  return sum_pairwise(lanes[0], lanes[1]);
}

}  // namespace dodeca::cpu::avx2
