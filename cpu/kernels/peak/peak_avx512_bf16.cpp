#include <immintrin.h>

#include "cpu/kernels/peak/peak_chains.hpp"
#include "cpu/kernels/peak/peak_kernels.hpp"

namespace dodeca::cpu::avx512_bf16 {

double peak_bf16(std::int64_t rounds) noexcept {
  const __m512i ones = _mm512_set1_epi16(0x3f80);  // BF16 for 1
  return run_chains<12, float>(rounds, _mm512_setzero_ps(), [&](__m512& sum) {
    asm volatile("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(ones));
  });
}

}  // namespace dodeca::cpu::avx512_bf16
