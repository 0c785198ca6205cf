// The empty asm statements keep the compiler from computing the sums beforehand, or several at once.
#include "cpu/kernels/peak/peak.hpp"
#include "cpu/kernels/peak/peak_chains.hpp"

namespace dodeca::cpu {

namespace scalar {

double peak_int8(std::int64_t rounds) noexcept {
  return run_chains<8, std::int32_t>(rounds, std::int32_t{0}, [one = std::int32_t{1}](std::int32_t& sum) {
    std::int32_t factor = one;
    asm volatile("" : "+r"(factor));
    sum += factor * one;
    asm volatile("" : "+r"(sum));
  });
}

double peak_f32(std::int64_t rounds) noexcept {
  return run_chains<8, float>(rounds, 0.0f, [one = 1.0f](float& sum) {
    float factor = one;
    asm volatile("" : "+x"(factor));
    sum += factor * one;
    asm volatile("" : "+x"(sum));
  });
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
