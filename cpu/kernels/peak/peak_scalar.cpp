// The empty asm statements keep the compiler from computing the sums beforehand, or several at once. All loops over the
// chains are unrolled, here and in the other files: one that is not puts every chain in memory.
#include "cpu/kernels/peak/peak.hpp"

namespace dodeca::cpu {

namespace scalar {
namespace {

constexpr int kChains = 8;

}  // namespace

double peak_int8(std::int64_t rounds) noexcept {
  std::int32_t sum[kChains] = {}, one = 1;
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int c = 0; c < kChains; ++c) {
      std::int32_t factor = one;
      asm volatile("" : "+r"(factor));
      sum[c] += factor * one;
      asm volatile("" : "+r"(sum[c]));
    }
  }
  double total = 0;
#pragma GCC unroll 8
  for (int c = 0; c < kChains; ++c) total += sum[c];
  return total;
}

double peak_f32(std::int64_t rounds) noexcept {
  float sum[kChains] = {}, one = 1;
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int c = 0; c < kChains; ++c) {
      float factor = one;
      asm volatile("" : "+x"(factor));
      sum[c] += factor * one;
      asm volatile("" : "+x"(sum[c]));
    }
  }
  double total = 0;
#pragma GCC unroll 8
  for (int c = 0; c < kChains; ++c) total += static_cast<double>(sum[c]);
  return total;
}

}  // namespace scalar

std::uint64_t dependent_adds(std::int64_t n) noexcept {
  std::uint64_t sum = 0;
  const std::uint64_t one = 1;
  for (std::int64_t i = 0; i < n; i += 64) {
    // From a register: additions of small constants are folded at no cost by some processors.
#pragma GCC unroll 64
    for (int k = 0; k < 64; ++k) asm volatile("add %1, %0" : "+r"(sum) : "r"(one));
  }
  return sum;
}

}  // namespace dodeca::cpu
