// How a row of weights becomes blocks of a new file: encoded by least squares, then given back the gain that this took.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/isa.hpp"
#include "quant/dtype.hpp"

namespace dodeca::runtime {

// Contract of quant::encode_row and quant::restore_gain. scratch: any, reused from row to row.
void encode_weights(quant::DType dtype, const float* row, std::byte* dst, std::int64_t n, const float* importance,
                    cpu::Isa isa, std::vector<float>& scratch);

}  // namespace dodeca::runtime
