// add_rows: out[r][i] += in[r][i] in float32; the sum of the residual stream with what a block leaves to be added.
//
// One launch reads 8 bytes, writes 4 and does one addition per value. A block of 256 threads takes 1024 values.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

struct AddRowsArgs {
  float* out;                          // [n_rows, width], rows out_stride values apart; 16 bytes aligned
  const float* in;                     // [n_rows, width], rows in_stride values apart; 16 bytes aligned
  std::int64_t out_stride, in_stride;  // multiples of 4
  std::int32_t n_rows;
  std::int32_t width;  // a multiple of 4
};

inline constexpr std::uint32_t kAddRowsThreads = 256;

inline Grid add_rows_grid(const AddRowsArgs& args) {
  const auto width = static_cast<std::uint32_t>(args.width);
  const std::uint32_t values = 4 * kAddRowsThreads;
  return {.blocks_x = (width + values - 1) / values,
          .blocks_y = static_cast<std::uint32_t>(args.n_rows),
          .threads = kAddRowsThreads};
}
inline std::uint64_t add_rows_bytes(const AddRowsArgs& args) {
  return 12 * static_cast<std::uint64_t>(args.n_rows) * static_cast<std::uint64_t>(args.width);
}
inline std::uint64_t add_rows_operations(const AddRowsArgs& args) { return add_rows_bytes(args) / 12; }

}  // namespace dodeca::gpu
