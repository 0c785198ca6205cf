#include <immintrin.h>

#include "cpu/kernels/peak/peak_chains.hpp"
#include "cpu/kernels/peak/peak_kernels.hpp"

namespace dodeca::cpu::avx512_vnni {

// 12 chains: latency 5 on two ports.
double peak_int8(std::int64_t rounds) noexcept {
  const __m512i bytes = _mm512_set1_epi8(1);
  return run_chains<12, std::int32_t>(rounds, _mm512_setzero_si512(), [&](__m512i& sum) {
    asm volatile("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(bytes));
  });
}

}  // namespace dodeca::cpu::avx512_vnni
