// Instructions as volatile asm: the compiler may neither compute them beforehand nor move accumulators about.
#include <immintrin.h>

#include "cpu/kernels/peak/peak_kernels.hpp"

namespace dodeca::cpu::avx2 {

// Pair sums are added as words as long as a product may (8 times), then widened: 17 instructions for 8 registers of
// bytes.
double peak_int8(std::int64_t rounds) noexcept {
  constexpr int kChains = 4;
  __m256i sum[kChains];
#pragma GCC unroll 4
  for (int c = 0; c < kChains; ++c) sum[c] = _mm256_setzero_si256();
  const __m256i bytes = _mm256_set1_epi8(1), words = _mm256_set1_epi16(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 4
    for (int c = 0; c < kChains; ++c) {
      __m256i pairs, product;
      asm volatile(
          "vpmaddubsw %3, %3, %1\n\t"
          ".rept 7\n\t"
          "vpmaddubsw %3, %3, %2\n\t"
          "vpaddw %2, %1, %1\n\t"
          ".endr\n\t"
          "vpmaddwd %4, %1, %1\n\t"
          "vpaddd %1, %0, %0"
          : "+x"(sum[c]), "=&x"(pairs), "=&x"(product)
          : "x"(bytes), "x"(words));
    }
  }
#pragma GCC unroll 4
  for (int c = 1; c < kChains; ++c) sum[0] = _mm256_add_epi32(sum[0], sum[c]);
  alignas(32) std::int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum[0]);
  double total = 0;
  for (const std::int32_t lane : lanes) total += lane;
  return total;
}

double peak_f32(std::int64_t rounds) noexcept {
  constexpr int kChains = 12;
  __m256 sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = _mm256_setzero_ps();
  const __m256 one = _mm256_set1_ps(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) asm volatile("vfmadd231ps %1, %1, %0" : "+x"(sum[c]) : "x"(one));
  }
#pragma GCC unroll 12
  for (int c = 1; c < kChains; ++c) sum[0] = _mm256_add_ps(sum[0], sum[c]);
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, sum[0]);
  double total = 0;
  for (const float lane : lanes) total += static_cast<double>(lane);
  return total;
}

}  // namespace dodeca::cpu::avx2
