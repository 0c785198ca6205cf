#include <immintrin.h>

#include "cpu/kernels/peak/peak_kernels.hpp"

namespace dodeca::cpu::avx512_vnni {

double peak_int8(std::int64_t rounds) noexcept {
  constexpr int kChains = 12;  // latency 5 on two ports
  __m512i sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = _mm512_setzero_si512();
  const __m512i bytes = _mm512_set1_epi8(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) asm volatile("vpdpbusd %1, %1, %0" : "+v"(sum[c]) : "v"(bytes));
  }
#pragma GCC unroll 12
  for (int c = 1; c < kChains; ++c) sum[0] = _mm512_add_epi32(sum[0], sum[c]);
  alignas(64) std::int32_t lanes[16];
  _mm512_store_si512(lanes, sum[0]);
  double total = 0;
  for (const std::int32_t lane : lanes) total += lane;
  return total;
}

}  // namespace dodeca::cpu::avx512_vnni
