#include <immintrin.h>

#include <limits>

#include "cpu/kernels/chunk_max/chunk_max_kernels.hpp"

namespace dodeca::cpu::avx2 {
namespace {

float largest_lane(__m256 lanes) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

// The first n lanes; the others are as small as can be.
__m256 load_first(const float* values, std::int64_t n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index);
  return _mm256_blendv_ps(_mm256_set1_ps(-std::numeric_limits<float>::infinity()), _mm256_maskload_ps(values, mask),
                          _mm256_castsi256_ps(mask));
}

}  // namespace

void chunk_maxima(const float* values, std::int64_t n, float* maxima) noexcept {
  constexpr std::int64_t kLanes = 8;
  const __m256 lowest = _mm256_set1_ps(-std::numeric_limits<float>::infinity());
  for (std::int64_t begin = 0; begin < n; begin += kMaxChunk) {
    const std::int64_t length = n - begin < kMaxChunk ? n - begin : kMaxChunk;
    __m256 largest[2] = {lowest, lowest}, nans = _mm256_setzero_ps();
    std::int64_t i = 0;
    for (; i + 2 * kLanes <= length; i += 2 * kLanes) {
      const __m256 a = _mm256_loadu_ps(values + begin + i), b = _mm256_loadu_ps(values + begin + i + kLanes);
      nans = _mm256_or_ps(nans, _mm256_cmp_ps(a, b, _CMP_UNORD_Q));
      largest[0] = _mm256_max_ps(largest[0], a);
      largest[1] = _mm256_max_ps(largest[1], b);
    }
    for (; i < length; i += kLanes) {
      const __m256 a = load_first(values + begin + i, length - i);
      nans = _mm256_or_ps(nans, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
      largest[0] = _mm256_max_ps(largest[0], a);
    }
    *maxima++ = _mm256_movemask_ps(nans) != 0 ? std::numeric_limits<float>::quiet_NaN()
                                              : largest_lane(_mm256_max_ps(largest[0], largest[1])) + 0.0f;
  }
}

}  // namespace dodeca::cpu::avx2
