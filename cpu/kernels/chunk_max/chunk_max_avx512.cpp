#include <immintrin.h>

#include <limits>

#include "cpu/kernels/chunk_max/chunk_max_kernels.hpp"

namespace dodeca::cpu::avx512 {

void chunk_maxima(const float* values, std::int64_t n, float* maxima) noexcept {
  constexpr std::int64_t kLanes = 16;
  const __m512 lowest = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  for (std::int64_t begin = 0; begin < n; begin += kMaxChunk) {
    const std::int64_t length = n - begin < kMaxChunk ? n - begin : kMaxChunk;
    __m512 largest[2] = {lowest, lowest};
    __mmask16 nans = 0;
    std::int64_t i = 0;
    for (; i + 2 * kLanes <= length; i += 2 * kLanes) {
      const __m512 a = _mm512_loadu_ps(values + begin + i), b = _mm512_loadu_ps(values + begin + i + kLanes);
      nans |= _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q);
      largest[0] = _mm512_max_ps(largest[0], a);
      largest[1] = _mm512_max_ps(largest[1], b);
    }
    for (; i < length; i += kLanes) {
      const std::int64_t left = length - i < kLanes ? length - i : kLanes;
      const __m512 a = _mm512_mask_loadu_ps(lowest, static_cast<__mmask16>((1u << left) - 1), values + begin + i);
      nans |= _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
      largest[0] = _mm512_max_ps(largest[0], a);
    }
    *maxima++ = nans != 0 ? std::numeric_limits<float>::quiet_NaN()
                          : _mm512_reduce_max_ps(_mm512_max_ps(largest[0], largest[1])) + 0.0f;
  }
}

}  // namespace dodeca::cpu::avx512
