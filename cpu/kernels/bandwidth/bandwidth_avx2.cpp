#include <immintrin.h>

#include "cpu/kernels/bandwidth/bandwidth_kernels.hpp"

namespace dodeca::cpu::avx2 {

std::uint64_t xor_of(const std::byte* data, std::size_t bytes) noexcept {
  constexpr int kChains = 8;
  constexpr std::size_t kAhead = 2048;  // past the hardware prefetcher's reach into the next page
  __m256i sum[kChains];
  for (__m256i& chain : sum) chain = _mm256_setzero_si256();
  for (std::size_t i = 0; i < bytes; i += 32 * kChains) {
    for (int c = 0; c < kChains; c += 2)
      _mm_prefetch(reinterpret_cast<const char*>(data + i + kAhead + 32 * c), _MM_HINT_T0);
    for (int c = 0; c < kChains; ++c) {
      sum[c] = _mm256_xor_si256(sum[c], _mm256_load_si256(reinterpret_cast<const __m256i*>(data + i + 32 * c)));
    }
  }
  for (int half = kChains / 2; half > 0; half /= 2) {
    for (int c = 0; c < half; ++c) sum[c] = _mm256_xor_si256(sum[c], sum[c + half]);
  }
  const __m128i two = _mm_xor_si128(_mm256_castsi256_si128(sum[0]), _mm256_extracti128_si256(sum[0], 1));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(two)) ^ static_cast<std::uint64_t>(_mm_extract_epi64(two, 1));
}

}  // namespace dodeca::cpu::avx2
