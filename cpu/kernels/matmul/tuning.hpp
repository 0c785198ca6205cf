// Which kernels of a weight type are the fastest on a processor, where measuring says something else than the rule of
// select_matmul(). About speed only: all kernels named here give the same bits. Data without files; dodeca-bench tune
// measures, runtime/plan/tuning_file.hpp keeps.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "cpu/isa.hpp"
#include "quant/dtype.hpp"

namespace dodeca::cpu {

struct TunedVariants {
  quant::DType dtype;
  Isa gemv, gemm;              // instruction sets of the two exact variants
  std::int64_t gemm_min_rows;  // from so many activation rows on gemm
  bool operator==(const TunedVariants&) const = default;
};
inline constexpr std::int64_t kLeastGemmMinRows = 2, kMostGemmMinRows = 33;

using MatmulTuning = std::vector<TunedVariants>;  // at most one entry per type; the rule holds for the others

// What was measured on a processor of this kind (processor_id()) and differs from the rule by more than the noise.
// Empty for processors on which nobody has measured.
MatmulTuning shipped_tuning(std::string_view processor);

}  // namespace dodeca::cpu
