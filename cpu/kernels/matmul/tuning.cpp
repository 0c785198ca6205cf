#include "cpu/kernels/matmul/tuning.hpp"

#include <array>

namespace dodeca::cpu {
namespace {

struct Shipped {
  std::string_view processor;
  TunedVariants variants;
};

// Measured so far: GenuineIntel 6/207 (a Xeon with AMX), 2 cores of a virtual machine with other work, 2026-11-23, all 24
// types. None differs from the rule; nearest is IQ1_M, where gemm from 7 rows on (once 5) was clearly faster in 6 of 12
// runs, with 0.91 to 0.95 of gemv's time, and took 0.97 to 1.01 of it in the others.
constexpr std::array<Shipped, 0> kShipped{};

}  // namespace

MatmulTuning shipped_tuning(std::string_view processor) {
  MatmulTuning tuning;
  for (const Shipped& row : kShipped) {
    if (row.processor == processor) tuning.push_back(row.variants);
  }
  return tuning;
}

}  // namespace dodeca::cpu
