// The device's KV cache of one layer: blocks of 64 positions, a row per position, rows of a block behind one another:
// [block][position][row bytes]. Which block holds which positions of which sequence is a table of the host's
// (runtime/exec/block_table.hpp); sequences may share blocks.
//
// A row is a latent (normalized) and the rotated key part that all heads share:
//   BF16   latent and rope as bf16
//   int8   latent as int8 q, rope as bf16 r, one float32 scale, 12 bytes unused: latent = scale * q, rope = scale * r.
//          Scale = largest |latent| / 127, and 1 where that is below 2^-100; so one factor serves the whole row, and q
//          and r are exact in the bf16 that tensor cores multiply. A row with an infinity or a NaN has scale NaN.
// Rows are multiples of 16 bytes and are read by 16-byte loads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dodeca::gpu {

inline constexpr std::int32_t kCacheBlock = 64;  // positions; cpu::kContextBlock

enum class CacheType : std::int32_t { kBf16, kInt8 };

struct CacheShape {
  std::int32_t latent = 0;  // a multiple of 64, at most 512
  std::int32_t rope = 0;    // a multiple of 16, 16 to 128
  CacheType type = CacheType::kBf16;
};

constexpr std::int32_t cache_row_bytes(const CacheShape& shape) {
  const std::int32_t rope = 2 * shape.rope;
  return shape.type == CacheType::kBf16 ? 2 * shape.latent + rope : shape.latent + rope + 16;
}

// A layer's rows and the table of all layers. Sequence s, position p: block table[s * table_stride + p / kCacheBlock].
struct CacheBlocks {
  std::byte* rows;            // 16 bytes aligned
  const std::int32_t* table;  // [n_sequences, table_stride]
  std::int32_t table_stride;
  std::int32_t row_bytes;
};

}  // namespace dodeca::gpu
