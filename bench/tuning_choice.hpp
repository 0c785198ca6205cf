// What dodeca-bench tune makes of its measurements: variants that differ from the rule of select_matmul() only where they
// are faster by more than the spread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cpu/kernels/matmul/matmul.hpp"

namespace dodeca::bench {

// Activation rows that are measured; gemm may take over behind any but the last.
inline constexpr std::array<std::int64_t, 9> kTuneRows = {1, 2, 4, 6, 8, 12, 16, 32, 128};

struct VariantTimes {
  const cpu::MatmulKernel* variant;
  std::vector<std::vector<double>> seconds;  // by index of kTuneRows and round
};
// Measured in the same rounds. The rule's variants are among them.
struct TypeTimes {
  quant::DType dtype;
  std::vector<VariantTimes> gemv, gemm, onednn;
};

// The time of `a` over the time of `b`: in each round the mean over the row counts [begin, end) of kTuneRows.
struct TimeRatio {
  double median, upper;  // of the rounds: median and upper quartile
  // By 3 % in the median, and at all in three of four rounds.
  bool clearly_faster() const { return median <= 0.97 && upper < 1; }
};
TimeRatio time_ratio(const VariantTimes& a, const VariantTimes& b, std::size_t begin, std::size_t end);

struct TuningChoice {
  cpu::TunedVariants tuned;
  std::vector<std::string> differences;  // from the rule, one sentence each
};
TuningChoice choose_variants(const TypeTimes& times, cpu::Isa isa);

}  // namespace dodeca::bench
