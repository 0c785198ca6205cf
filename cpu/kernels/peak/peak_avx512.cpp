// As peak_avx2.cpp, in 512-bit registers.
#include <immintrin.h>

#include "cpu/kernels/peak/peak_chains.hpp"
#include "cpu/kernels/peak/peak_kernels.hpp"

namespace dodeca::cpu::avx512 {

double peak_int8(std::int64_t rounds) noexcept {
  const __m512i bytes = _mm512_set1_epi8(1), words = _mm512_set1_epi16(1);
  return run_chains<4, std::int32_t>(rounds, _mm512_setzero_si512(),
                                     [&](__m512i& sum) { add_byte_products(sum, bytes, words); });
}

double peak_f32(std::int64_t rounds) noexcept {
  const __m512 one = _mm512_set1_ps(1);
  return run_chains<12, float>(rounds, _mm512_setzero_ps(), [&](__m512& sum) {
    asm volatile("vfmadd231ps %1, %1, %0" : "+v"(sum) : "v"(one));
  });
}

}  // namespace dodeca::cpu::avx512
