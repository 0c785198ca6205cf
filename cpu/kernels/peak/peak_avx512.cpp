// As peak_avx2.cpp, in 512-bit registers.
#include <immintrin.h>

#include "cpu/kernels/peak/peak_kernels.hpp"

namespace dodeca::cpu::avx512 {

// Pair sums are added as words as long as a product may (8 times), then widened: 17 instructions for 8 registers of
// bytes.
double peak_int8(std::int64_t rounds) noexcept {
  constexpr int kChains = 4;
  __m512i sum[kChains];
#pragma GCC unroll 4
  for (int c = 0; c < kChains; ++c) sum[c] = _mm512_setzero_si512();
  const __m512i bytes = _mm512_set1_epi8(1), words = _mm512_set1_epi16(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 4
    for (int c = 0; c < kChains; ++c) {
      __m512i pairs, product;
      asm volatile(
          "vpmaddubsw %3, %3, %1\n\t"
          ".rept 7\n\t"
          "vpmaddubsw %3, %3, %2\n\t"
          "vpaddw %2, %1, %1\n\t"
          ".endr\n\t"
          "vpmaddwd %4, %1, %1\n\t"
          "vpaddd %1, %0, %0"
          : "+v"(sum[c]), "=&v"(pairs), "=&v"(product)
          : "v"(bytes), "v"(words));
    }
  }
#pragma GCC unroll 4
  for (int c = 1; c < kChains; ++c) sum[0] = _mm512_add_epi32(sum[0], sum[c]);
  alignas(64) std::int32_t lanes[16];
  _mm512_store_si512(lanes, sum[0]);
  double total = 0;
  for (const std::int32_t lane : lanes) total += lane;
  return total;
}

double peak_f32(std::int64_t rounds) noexcept {
  constexpr int kChains = 12;
  __m512 sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = _mm512_setzero_ps();
  const __m512 one = _mm512_set1_ps(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) asm volatile("vfmadd231ps %1, %1, %0" : "+v"(sum[c]) : "v"(one));
  }
#pragma GCC unroll 12
  for (int c = 1; c < kChains; ++c) sum[0] = _mm512_add_ps(sum[0], sum[c]);
  alignas(64) float lanes[16];
  _mm512_store_ps(lanes, sum[0]);
  double total = 0;
  for (const float lane : lanes) total += static_cast<double>(lane);
  return total;
}

}  // namespace dodeca::cpu::avx512
