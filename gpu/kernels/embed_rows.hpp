// embed_rows: rows of a table in file form, decoded to float32 exactly as quant::decode_row does: the embedding of tokens.
// Hidden rows that are given instead are a table of type F32.
//
// Bytes of a row in the file read and 4 per value written; 3 operations per value at most.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gpu/kernels/grid.hpp"
#include "quant/dtype.hpp"

namespace dodeca::gpu {

struct EmbedRowsArgs {
  const std::byte* table;    // row after row as in the file, 64 bytes aligned
  const std::int32_t* rows;  // [n_rows] rows of the table; null: 0, 1, 2, ...
  float* out;                // [n_rows, n], rows out_stride values apart
  std::int64_t row_bytes;    // of the table
  std::int64_t out_stride;
  std::int32_t n_rows, n;  // n: a multiple of the type's block
  quant::DType dtype;      // one that can_embed()
};

inline bool can_embed(quant::DType dtype) {
  using enum quant::DType;
  return dtype == kF32 || dtype == kF16 || dtype == kBF16 || dtype == kQ8_0 || dtype == kQ4_K || dtype == kQ6_K;
}

inline constexpr std::uint32_t kEmbedRowsThreads = 256;

inline Grid embed_rows_grid(const EmbedRowsArgs& args) {
  return {.blocks_x = (static_cast<std::uint32_t>(args.n) + kEmbedRowsThreads - 1) / kEmbedRowsThreads,
          .blocks_y = static_cast<std::uint32_t>(args.n_rows),
          .threads = kEmbedRowsThreads};
}
inline std::uint64_t embed_rows_bytes(const EmbedRowsArgs& args) {
  return static_cast<std::uint64_t>(args.n_rows) *
         (static_cast<std::uint64_t>(args.row_bytes) + 4 * static_cast<std::uint64_t>(args.n));
}
inline std::uint64_t embed_rows_operations(const EmbedRowsArgs& args) {
  return 3 * static_cast<std::uint64_t>(args.n_rows) * static_cast<std::uint64_t>(args.n);
}

}  // namespace dodeca::gpu
