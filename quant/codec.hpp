// The scalar encode and decode that define every format. One file per format family in quant/formats; this is their
// common door. Pure functions: no allocation, no ISA, no threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"

namespace dodeca::quant {

// src: a row of n weights; dst: n floats. n is a multiple of the type's block; type_info(dtype).decodable holds.
void decode_row(DType dtype, const std::byte* src, float* dst, std::int64_t n);
// Columns [begin, end) of a row, multiples of the block, to end - begin floats.
void decode_columns(DType dtype, const std::byte* row, std::int64_t begin, std::int64_t end, float* dst);

// n_rows rows of n weights one after the other, to n_rows * n floats.
void decode_rows(DType dtype, const std::byte* rows, std::int64_t n_rows, std::int64_t n, float* dst);

// src: n floats, finite; dst: row_bytes(dtype, n) bytes. type_info(dtype).encodable holds.
// Least squared error by search, weighted by importance: n non-negative weights, one per column, or null for all alike.
// These bits define cpu/kernels/encode, which is how to make files.
void encode_row(DType dtype, const float* src, std::byte* dst, std::int64_t n, const float* importance = nullptr);
// The same contract in one rounding where that is good enough (Q8_0): for values that live shortly, as a KV cache's.
void encode_row_once(DType dtype, const float* src, std::byte* dst, std::int64_t n);

// The first element of a row that is NaN or infinite once decoded (scales included), or -1.
// type_info(dtype).decodable holds.
std::int64_t find_non_finite(DType dtype, const std::byte* src, std::int64_t n);

}  // namespace dodeca::quant
