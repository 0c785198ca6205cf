#include "cpu/kernels/matmul/tuning.hpp"

namespace dodeca::cpu {
namespace {

struct Shipped {
  std::string_view processor;
  TunedLines lines;
};

constexpr Shipped kShipped[] = {
    // Xeon, 2 cores of a virtual machine, 2026-11-23, five runs: 0.91 to 0.95 of gemv's time at 8 rows.
    {"GenuineIntel 6/207", {quant::DType::kIQ1_M, Isa::kAvx512Vnni, Isa::kAvx512Vnni, 7}},
};

}  // namespace

MatmulTuning shipped_tuning(std::string_view processor) {
  MatmulTuning tuning;
  for (const Shipped& row : kShipped) {
    if (row.processor == processor) tuning.push_back(row.lines);
  }
  return tuning;
}

}  // namespace dodeca::cpu
