// Instructions as volatile asm: the compiler may neither compute them beforehand nor move accumulators about.
#include <immintrin.h>

#include "cpu/kernels/peak/peak_chains.hpp"
#include "cpu/kernels/peak/peak_kernels.hpp"

namespace dodeca::cpu::avx2 {

double peak_int8(std::int64_t rounds) noexcept {
  const __m256i bytes = _mm256_set1_epi8(1), words = _mm256_set1_epi16(1);
  return run_chains<4, std::int32_t>(rounds, _mm256_setzero_si256(),
                                     [&](__m256i& sum) { add_byte_products(sum, bytes, words); });
}

double peak_f32(std::int64_t rounds) noexcept {
  const __m256 one = _mm256_set1_ps(1);
  return run_chains<12, float>(rounds, _mm256_setzero_ps(), [&](__m256& sum) {
    asm volatile("vfmadd231ps %1, %1, %0" : "+x"(sum) : "x"(one));
  });
}

}  // namespace dodeca::cpu::avx2
