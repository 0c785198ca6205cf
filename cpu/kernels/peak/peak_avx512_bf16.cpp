#include <immintrin.h>

#include "cpu/kernels/peak/peak_kernels.hpp"

namespace dodeca::cpu::avx512_bf16 {

double peak_bf16(std::int64_t rounds) noexcept {
  constexpr int kChains = 12;
  __m512 sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = _mm512_setzero_ps();
  const __m512i ones = _mm512_set1_epi16(0x3f80);  // BF16 for 1
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) asm volatile("vdpbf16ps %1, %1, %0" : "+v"(sum[c]) : "v"(ones));
  }
#pragma GCC unroll 12
  for (int c = 1; c < kChains; ++c) sum[0] = _mm512_add_ps(sum[0], sum[c]);
  alignas(64) float lanes[16];
  _mm512_store_ps(lanes, sum[0]);
  double total = 0;
  for (const float lane : lanes) total += static_cast<double>(lane);
  return total;
}

}  // namespace dodeca::cpu::avx512_bf16
