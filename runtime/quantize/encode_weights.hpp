// How a row of weights becomes blocks of a new file: encoded by least squares, then given back the gain that this took.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cpu/isa.hpp"
#include "quant/dtype.hpp"

namespace dodeca::runtime::quantize {

// Contract of quant::encode_row and quant::restore_gain. scratch: any, reused from row to row.
void encode_weights(quant::DType dtype, std::span<const float> row, std::byte* dst, const float* importance,
                    cpu::Isa isa, std::vector<float>& scratch);

}  // namespace dodeca::runtime::quantize
