// The device's KV cache of one layer: blocks of 64 positions, a row per position, rows of a block behind one another:
// [block][position][row bytes]. Which block holds which positions of which sequence is a table of the host's
// (runtime/exec/block_table.hpp); sequences may share blocks.
//
// A row is a latent (normalized) and the rotated key part that all heads share:
//   F32    latent and rope as float32: for the reference route
//   F16    latent and rope as f16; what it cannot hold becomes the largest that it can, NaN stays NaN
//   BF16   latent and rope as bf16
//   int8   latent as int8 q, rope as bf16 r, one float32 scale, 12 bytes of zeros: latent = scale * q, rope = scale * r.
//          q = round-half-even(latent * (127 / largest |latent|)), scale = largest / 127; where the largest is below
//          2^-100, q = 0 and scale = 1. One factor so serves the whole row, and q and r are exact in the bf16 that
//          tensor cores multiply. Where the latent holds an infinity or a NaN, q = 0 and scale = NaN.
// Rows are multiples of 16 bytes and are read by 16-byte loads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gpu/kernels/grid.hpp"
#include "gpu/kernels/rope.hpp"

namespace dodeca::gpu {

inline constexpr std::int32_t kCacheBlock = 64;  // positions; as cpu::kContextBlock

enum class CacheType : std::int32_t { kF32, kF16, kBf16, kInt8 };

struct CacheShape {
  std::int32_t latent = 0;  // a multiple of 64, at most 512
  std::int32_t rope = 0;    // a multiple of 16, 16 to 128
  CacheType type = CacheType::kBf16;
};

constexpr std::int32_t cache_row_bytes(const CacheShape& shape) {
  if (shape.type == CacheType::kInt8) return shape.latent + 2 * shape.rope + 16;
  return (shape.type == CacheType::kF32 ? 4 : 2) * (shape.latent + shape.rope);
}
// Where a row's rope part begins, and where an int8 row's scale is.
constexpr std::int32_t cache_rope_offset(const CacheShape& shape) {
  return shape.latent * (shape.type == CacheType::kInt8 ? 1 : shape.type == CacheType::kF32 ? 4 : 2);
}
constexpr std::int32_t cache_scale_offset(const CacheShape& shape) { return shape.latent + 2 * shape.rope; }

// A layer's rows and the table of all layers. Sequence s, position p: block table[s * table_stride + p / kCacheBlock].
struct CacheBlocks {
  std::byte* rows;            // 16 bytes aligned
  const std::int32_t* table;  // [n_sequences, table_stride]
  std::int32_t table_stride;
  std::int32_t row_bytes;  // cache_row_bytes()
};

// append_cache_rows: adds the bias to rows of kv_a's results, normalizes the latent (RMS norm, times its weights),
// rotates the key part, and writes the cache row of the row's position. A block takes a row.
// A launch reads 4 bytes per value and writes the cache's; per row 6 operations per value of the latent.
struct AppendCacheArgs {
  const float* kv;                // [n_rows, latent + rope], rows kv_stride values apart, 16 bytes aligned
  const float* bias;              // [latent + rope], or null
  const float* norm;              // [latent]
  const float* cos_sin;           // [n_rows, rope] of rope_angles; all pointers to floats 16 bytes aligned
  const std::int32_t* sequences;  // [n_rows]
  const std::int32_t* positions;  // [n_rows]; below 0: nothing is written
  CacheBlocks cache;
  CacheShape shape;
  std::int64_t kv_stride;  // a multiple of 4
  float eps;
  std::int32_t n_rows;
  RopePairs pairs;
};

inline constexpr std::uint32_t kAppendThreads = 128;  // four values each, of at most 512

inline Grid append_cache_grid(const AppendCacheArgs& args) {
  return {.blocks_x = static_cast<std::uint32_t>(args.n_rows), .threads = kAppendThreads};
}
inline std::uint64_t append_cache_bytes(const AppendCacheArgs& args) {
  return static_cast<std::uint64_t>(args.n_rows) *
         static_cast<std::uint64_t>(4 * (args.shape.latent + args.shape.rope) + args.cache.row_bytes);
}

// copy_cache_rows: copies rows in every layer, each copy by blocks of its own: from block to block (copy-on-write), or
// between blocks and a staging buffer of the device or in pinned memory (save, restore).
struct CacheCopy {
  const std::byte* from;  // in layer 0, 16 bytes aligned, as is `to`; copies of a launch do not overlap
  std::byte* to;
  std::int64_t from_layer, to_layer;  // bytes from a layer to the next, multiples of 16
  std::int64_t bytes;                 // in a layer, a multiple of 16
};
struct CopyCacheArgs {
  const CacheCopy* copies;  // [n_copies]
  std::int32_t n_copies, n_layers;
};

inline constexpr std::uint32_t kCopyCacheThreads = 256;

// Where a position's row begins in a layer.
constexpr std::int64_t cache_row_offset(std::int32_t block, std::int64_t position, std::int32_t row_bytes) {
  return (static_cast<std::int64_t>(block) * kCacheBlock + position % kCacheBlock) * row_bytes;
}
inline Grid copy_cache_grid(const CopyCacheArgs& args) {
  return {.blocks_x = static_cast<std::uint32_t>(args.n_copies),
          .blocks_y = static_cast<std::uint32_t>(args.n_layers),
          .threads = kCopyCacheThreads};
}

}  // namespace dodeca::gpu
