// add_weighted_rows: out[r] += the sum over t of weights[r][t] * in[index of (r, t)], terms in ascending order, each a
// product and an addition in float32: what the experts of a row are merged with, in the order and the bits of processors.
//
// Per value of out: 4 bytes read for each term and, with `accumulate`, 4 more; 4 written; 2 operations for each term.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

// Rows of n float32 values; strides in values.
struct AddWeightedRowsArgs {
  float* out;            // [n_rows, n]
  const float* in;       // [as many rows as the indices want, n]
  const float* weights;  // [n_rows, n_terms]; null: 1
  // [n_rows, n_terms] rows of `in`, counted from first_index on; below it or from end_index on: no such term; null: row
  // r * n_terms + t
  const std::int32_t* indices;
  std::int32_t first_index, end_index;
  std::int64_t out_stride, in_stride;
  std::int32_t n_rows, n_terms, n;
  bool accumulate;  // false: out starts from zero
};

inline constexpr std::uint32_t kAddWeightedRowsThreads = 256;

inline Grid add_weighted_rows_grid(const AddWeightedRowsArgs& args) {
  return {.blocks_x = (static_cast<std::uint32_t>(args.n) + kAddWeightedRowsThreads - 1) / kAddWeightedRowsThreads,
          .blocks_y = static_cast<std::uint32_t>(args.n_rows),
          .threads = kAddWeightedRowsThreads};
}
inline std::uint64_t add_weighted_rows_bytes(const AddWeightedRowsArgs& args) {
  const auto terms = static_cast<std::uint64_t>(args.n_terms);
  return 4 * static_cast<std::uint64_t>(args.n_rows) * static_cast<std::uint64_t>(args.n) *
         (terms + (args.accumulate ? 2 : 1));
}
inline std::uint64_t add_weighted_rows_operations(const AddWeightedRowsArgs& args) {
  return 2 * static_cast<std::uint64_t>(args.n_rows) * static_cast<std::uint64_t>(args.n) *
         static_cast<std::uint64_t>(args.n_terms);
}

}  // namespace dodeca::gpu
