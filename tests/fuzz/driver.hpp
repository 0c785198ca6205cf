// Runs a fuzz target on mutations of its seeds in a process of its own, which may crash, hang or take all memory. The
// inputs are the same in every run; how many of them there are depends on the time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

struct FuzzLimits {
  double seconds = 5;  // of processor time for all inputs
  std::uint64_t n_inputs = ~std::uint64_t{0};
  std::uint64_t first = 0;                     // number of the first input
  std::size_t max_bytes = 1 << 14;             // of an input
  std::filesystem::path found = "build/fuzz";  // where the input that failed is written
};

struct FuzzResult {
  std::uint64_t n_inputs = 0, n_accepted = 0;
  double slowest = 0;  // seconds of processor time for one input
  std::uint64_t peak_bytes = 0;
  std::string problem;          // empty: none
  std::filesystem::path input;  // that caused it
};

FuzzResult fuzz(const FuzzTarget& target, const FuzzLimits& limits);

}  // namespace dodeca::tests
