// The loop of every peak kernel: independent accumulators, so that latency does not count. Internal linkage: the files
// that include it are compiled for different levels.
#pragma once

#include <cstdint>
#include <cstring>

namespace dodeca::cpu {
namespace {

// step(sum[c]) for each of kChains accumulators that begin as `zero`, `rounds` times; the sum of all lanes at the end.
// A loop over the chains that is not unrolled would keep them in memory.
template <int kChains, typename Lane, typename Register, typename Step>
[[gnu::always_inline]] inline double run_chains(std::int64_t rounds, Register zero, Step step) {
  Register sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = zero;
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) step(sum[c]);
  }
  double total = 0;
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) {
    Lane lanes[sizeof(Register) / sizeof(Lane)];  // NOLINT(bugprone-sizeof-expression): one lane in the scalar variant
    std::memcpy(lanes, &sum[c], sizeof(Register));
    for (const Lane lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

// One step of 8-bit products without VNNI, for the register type of a level: pair sums are added as words as long as a
// product may (8 times), then widened. 17 instructions for 8 registers of bytes.
template <typename Register>
[[gnu::always_inline]] inline void add_byte_products(Register& sum, Register bytes, Register words) {
  Register pairs, product;
  asm volatile(
      "vpmaddubsw %3, %3, %1\n\t"
      ".rept 7\n\t"
      "vpmaddubsw %3, %3, %2\n\t"
      "vpaddw %2, %1, %1\n\t"
      ".endr\n\t"
      "vpmaddwd %4, %1, %1\n\t"
      "vpaddd %1, %0, %0"
      : "+v"(sum), "=&v"(pairs), "=&v"(product)
      : "v"(bytes), "v"(words));
}

}  // namespace
}  // namespace dodeca::cpu
