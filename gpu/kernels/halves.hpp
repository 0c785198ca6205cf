// Rows of 16-bit floats: made from cached rows and from queries, multiplied with one another, and widened again. What
// attention of many rows works with (mla_prompt.hpp).
//
//   gather_cache_rows  the rows of a sequence's first positions, dense, in its order: latent and rope part
//   pack_queries       queries of all heads, their last part rotated, times a factor
//   multiply_halves    c[m][n] = sum over k of a[m][k] * b[n][k], sums in float32 (mma m16n8k16)
//   widen_rows         16-bit floats to float32
//
// F16 holds what it can: larger values become its largest, NaN stays NaN.
#pragma once

#include <cstdint>

#include "gpu/kernels/cache_rows.hpp"
#include "gpu/kernels/grid.hpp"
#include "gpu/kernels/rope.hpp"

namespace dodeca::gpu {

enum class HalfType : std::int32_t { kF16, kBf16 };

struct GatherCacheArgs {
  CacheBlocks cache;
  CacheShape shape;    // F16, BF16, int8
  std::uint16_t* out;  // [n_positions, latent + rope], 16 bytes aligned
  HalfType type;       // F16 of an F16 cache, BF16 of the others
  std::int32_t sequence, n_positions;
};

struct PackQueriesArgs {
  const float* queries;  // [n_rows, n_heads, nope + rope]
  const float* cos_sin;  // [n_rows, rope] of rope_angles; both 16 bytes aligned
  std::uint16_t* out;    // [n_rows, n_heads, nope + rope], rows out_stride values apart
  std::int64_t out_stride;
  float factor;
  HalfType type;
  RopePairs pairs;
  std::int32_t n_rows, n_heads, nope, rope;  // nope and rope: multiples of 16
};

struct MultiplyHalvesArgs {
  const std::uint16_t *a, *b;                 // [m, k], [n, k]; 16 bytes aligned
  std::uint16_t* c;                           // [m, n], 4 bytes aligned
  std::int64_t a_stride, b_stride, c_stride;  // in values; a and b: multiples of 8, c: of 2
  std::int32_t m, n, k;                       // k: a multiple of 16, n: of 2
};

struct WidenRowsArgs {
  const std::uint16_t* in;  // [n_rows, n_groups, width], groups group_stride values apart, rows in_stride
  float* out;               // [n_rows, n_groups * width], rows out_stride values apart
  std::int64_t in_stride, group_stride, out_stride;
  HalfType type;
  std::int32_t n_rows, n_groups, width;  // width: a multiple of 2
};

inline constexpr std::uint32_t kHalvesThreads = 128;
inline constexpr std::int32_t kHalvesTile = 64;  // rows of a and of b that a block multiplies

inline Grid gather_cache_grid(const GatherCacheArgs& args) {
  return {.blocks_x = static_cast<std::uint32_t>(args.n_positions), .threads = kHalvesThreads};
}
inline Grid pack_queries_grid(const PackQueriesArgs& args) {
  const auto quads = static_cast<std::uint32_t>(args.n_heads * (args.nope + args.rope) / 4);
  return {.blocks_x = (quads + kHalvesThreads - 1) / kHalvesThreads,
          .blocks_y = static_cast<std::uint32_t>(args.n_rows),
          .threads = kHalvesThreads};
}
inline Grid multiply_halves_grid(const MultiplyHalvesArgs& args) {
  return {.blocks_x = static_cast<std::uint32_t>((args.n + kHalvesTile - 1) / kHalvesTile),
          .blocks_y = static_cast<std::uint32_t>((args.m + kHalvesTile - 1) / kHalvesTile),
          .threads = kHalvesThreads};
}
inline std::uint64_t multiply_halves_operations(const MultiplyHalvesArgs& args) {
  return 2 * static_cast<std::uint64_t>(args.m) * static_cast<std::uint64_t>(args.n) *
         static_cast<std::uint64_t>(args.k);
}
inline Grid widen_rows_grid(const WidenRowsArgs& args) {
  const auto pairs = static_cast<std::uint32_t>(args.n_groups * args.width / 2);
  return {.blocks_x = (pairs + kHalvesThreads - 1) / kHalvesThreads,
          .blocks_y = static_cast<std::uint32_t>(args.n_rows),
          .threads = kHalvesThreads};
}

}  // namespace dodeca::gpu
