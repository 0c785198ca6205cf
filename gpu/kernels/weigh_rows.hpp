// weigh_rows: residual += addition, then weighed = residual * weight of a norm, with the int8 copies of the weighed row, and
// one factor per row: 1 / sqrt(mean of the squares + eps), which the products with the row are multiplied with. So the
// norm's division waits for nothing.
//
// The same bits as cpu::add_and_weigh in blocks of 256 columns, cpu::quantize_act and runtime/exec's inverse_norm.
//
// Per value: 8 or 12 bytes read (and the weight, 4, from cache), 4 or 8 written, 1.25 for each copy; 4 operations, 3 more
// for each copy.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"
#include "gpu/kernels/row_copies.hpp"

namespace dodeca::gpu {

// Rows of n float32 values; strides in values. n >= 1.
struct WeighRowsArgs {
  float* residual;        // [n_rows, n]; read, and with `addition` written
  const float* addition;  // [n_rows, n], or one row for all (stride 0); null: nothing is added
  const float* weight;    // [n]
  float* weighed;         // [n_rows, n], may be `residual`; null: only the copies are wanted
  float* factors;         // [n_rows]
  std::int64_t residual_stride, addition_stride, weighed_stride;
  RowCopies copies;
  std::int32_t n_rows, n;
  float eps;
};

inline Grid weigh_rows_grid(const WeighRowsArgs& args) { return row_grid(args.n_rows, args.n, true); }
inline std::uint64_t weigh_rows_bytes(const WeighRowsArgs& args) {
  const auto n = static_cast<std::uint64_t>(args.n), rows = static_cast<std::uint64_t>(args.n_rows);
  const std::uint64_t floats = 1 + (args.addition != nullptr ? 2 : 0) + (args.weighed != nullptr ? 1 : 0);
  return rows * (4 * n * floats + copies_bytes(args.copies, args.n) + 4) + 4 * n;
}
inline std::uint64_t weigh_rows_operations(const WeighRowsArgs& args) {
  return 4 * static_cast<std::uint64_t>(args.n_rows) * static_cast<std::uint64_t>(args.n);
}

}  // namespace dodeca::gpu
