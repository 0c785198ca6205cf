// dodeca-bench kernels: every variant of the matrix products beside what memory and the arithmetic units allow.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cpu/kernels/matmul/matmul.hpp"

namespace dodeca::bench {

// Values of --types, comma lists. Throws runtime::cli::Usage for what nothing multiplies.
std::vector<quant::DType> parse_types(const std::vector<std::string>& texts);

// The variants to measure for a number of activation rows, as the forward pass would take them from gemv or gemm: of the
// wanted types (empty: all), at most at `isa`; with best_only that of the highest level of each type, oneDNN's not
// among them.
std::vector<const cpu::MatmulKernel*> kernels_to_measure(const std::vector<quant::DType>& types, cpu::Isa isa,
                                                         std::int64_t columns, bool best_only);

int cmd_kernels(std::span<const std::string> args);

}  // namespace dodeca::bench
