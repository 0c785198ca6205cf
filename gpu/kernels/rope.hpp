// rope_angles: cos and sin of every row's position times the model's inverse frequencies (YaRN in them), in double, times
// the rope's magnitude in float32: what cpu::rope_angles and the embedding make. Once per pass.
// rope_rows: rotates pairs of a head's dimensions, (a, b) -> (a cos - b sin, a sin + b cos), the CPU's bits. It moves them
// too: out of queries [nope | rope] into absorbed queries [latent | rope], beside what k_b makes of the first part.
//
// A launch of rope_rows reads 4 and writes 4 bytes and does 3 operations per value, n_rows * n_heads * rope values.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

struct RopeAnglesArgs {
  const std::int32_t* positions;  // [n_rows]; below 0: a row that is not there
  const double* inv_freq;         // [rope / 2]
  float* cos_sin;                 // [n_rows, rope]: cos 0, sin 0, cos 1, sin 1, ...
  float magnitude;                // factor of both
  std::int32_t n_rows, rope;
};

// Which dimensions are a pair: 2 i and 2 i + 1, or i and i + rope / 2.
enum class RopePairs : std::int32_t { kNeighbours, kHalves };

struct RopeRowsArgs {
  const float* in;       // the rotated part of row 0's head 0, [n_rows, n_heads, rope]
  float* out;            // as `in`, or `in` itself
  const float* cos_sin;  // [n_rows, rope]; these three 16 bytes aligned
  std::int64_t in_row_stride, in_head_stride, out_row_stride, out_head_stride;  // in values, multiples of 4
  std::int32_t n_rows, n_heads;
  std::int32_t rope;  // a multiple of 4
  RopePairs pairs;
};

inline constexpr std::uint32_t kRopeThreads = 128;

inline Grid rope_angles_grid(const RopeAnglesArgs& args) {
  const auto pairs = static_cast<std::uint32_t>(args.rope / 2);
  return {.blocks_x = (pairs + kRopeThreads - 1) / kRopeThreads,
          .blocks_y = static_cast<std::uint32_t>(args.n_rows),
          .threads = kRopeThreads};
}
// Four values a thread.
inline Grid rope_rows_grid(const RopeRowsArgs& args) {
  const auto threads = static_cast<std::uint32_t>(args.n_heads) * static_cast<std::uint32_t>(args.rope / 4);
  return {.blocks_x = (threads + kRopeThreads - 1) / kRopeThreads,
          .blocks_y = static_cast<std::uint32_t>(args.n_rows),
          .threads = kRopeThreads};
}
inline std::uint64_t rope_rows_values(const RopeRowsArgs& args) {
  return static_cast<std::uint64_t>(args.n_rows) * static_cast<std::uint64_t>(args.n_heads) *
         static_cast<std::uint64_t>(args.rope);
}
inline std::uint64_t rope_rows_bytes(const RopeRowsArgs& args) { return 8 * rope_rows_values(args); }
inline std::uint64_t rope_rows_operations(const RopeRowsArgs& args) { return 3 * rope_rows_values(args); }

}  // namespace dodeca::gpu
