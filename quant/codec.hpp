// The scalar encode and decode that define every format. One file per format family in quant/formats; this is their
// common door. Pure functions: no allocation, no ISA, no threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"

namespace dodeca::quant {

// src: n/block blocks of dtype; dst: n floats. n is a multiple of the type's block; type_info(dtype).decodable holds.
void decode_row(DType dtype, const std::byte* src, float* dst, std::int64_t n);

// src: n floats, finite; dst: row_bytes(dtype, n) bytes. type_info(dtype).encodable holds.
// importance: n non-negative weights of the squared error per column, or null for the type's own default weighting.
void encode_row(DType dtype, const float* src, std::byte* dst, std::int64_t n, const float* importance = nullptr);

// The first element that is NaN or infinite once decoded (block scales included), or -1.
std::int64_t find_non_finite(DType dtype, const std::byte* src, std::int64_t n);

}  // namespace dodeca::quant
