// argmax_rows: the largest value of each row and the lowest index that has it, as the sampler takes it at temperature 0
// (runtime/sample/scanned_logits). A NaN in a row is its result, with the index of the first one: the caller refuses it, as
// it refuses a largest value that is infinite. Zeros of both signs are equal; the value is then +0.
//
// 4 bytes and one comparison per value. A row is shared by blocks of kArgmaxValues values; the last one to end takes the best
// of theirs, so the result does not depend on their order.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

struct Best {
  float value;
  std::int32_t index;
};

struct ArgmaxRowsArgs {
  const float* in;          // [n_rows, n], rows in_stride values apart
  Best* out;                // [n_rows]
  Best* partials;           // [argmax_partials(args)]
  std::uint32_t* counters;  // [n_rows], zero before the first launch and again after each
  std::int64_t in_stride;
  std::int32_t n_rows, n;  // n >= 1
};

inline constexpr std::uint32_t kArgmaxThreads = 256;
inline constexpr std::int32_t kArgmaxValues = 4096;

inline Grid argmax_rows_grid(const ArgmaxRowsArgs& args) {
  return {.blocks_x = static_cast<std::uint32_t>((args.n + kArgmaxValues - 1) / kArgmaxValues),
          .blocks_y = static_cast<std::uint32_t>(args.n_rows),
          .threads = kArgmaxThreads};
}
inline std::size_t argmax_partials(const ArgmaxRowsArgs& args) {
  const Grid grid = argmax_rows_grid(args);
  return static_cast<std::size_t>(grid.blocks_x) * grid.blocks_y;
}
inline std::uint64_t argmax_rows_bytes(const ArgmaxRowsArgs& args) {
  return 4 * static_cast<std::uint64_t>(args.n_rows) * static_cast<std::uint64_t>(args.n);
}
inline std::uint64_t argmax_rows_operations(const ArgmaxRowsArgs& args) { return argmax_rows_bytes(args) / 4; }

}  // namespace dodeca::gpu
