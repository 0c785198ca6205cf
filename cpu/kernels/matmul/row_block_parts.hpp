// The file side of row_block.cpp's table: one specialisation per block type, in row_block_file.cpp.
#pragma once

#include "cpu/kernels/matmul/row_block.hpp"

namespace dodeca::cpu {

template <quant::DType T>
void from_file(const std::byte* file, RowBlock& block);
template <quant::DType T>
void to_file(const RowBlock& block, std::byte* file);

}  // namespace dodeca::cpu
