// int8 copies of rows, as the products of block types read them (quant/layout/q8_blocks.hpp), and how kernels that work
// row by row are launched.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

// Null: a format is not wanted. Whole blocks of a format are written: of a row of n columns n / 256 or n / 32. Strides
// are bytes from one row to the next, multiples of 64; the first row is 64 bytes aligned.
struct RowCopies {
  std::byte* q8_256 = nullptr;
  std::byte* q8_32 = nullptr;
  std::int64_t q8_256_stride = 0, q8_32_stride = 0;
};
// Bytes written per row.
inline std::uint64_t copies_bytes(const RowCopies& copies, std::int32_t n) {
  return (copies.q8_256 == nullptr ? 0 : static_cast<std::uint64_t>(n / 256) * 320) +
         (copies.q8_32 == nullptr ? 0 : static_cast<std::uint64_t>(n / 32) * 40);
}

inline constexpr std::uint32_t kRowThreads = 512;

// One block per row; sixteen threads per 256 columns. squares: the block keeps one float per 256 columns as well.
inline Grid row_grid(std::int32_t n_rows, std::int32_t n, bool squares = false) {
  const std::uint32_t blocks = (static_cast<std::uint32_t>(n) + 255) / 256, wanted = (blocks + 1) / 2 * 32;
  const std::uint32_t threads = wanted < kRowThreads ? wanted : kRowThreads;
  return {.blocks_x = static_cast<std::uint32_t>(n_rows),
          .threads = threads,
          .shared_bytes = (threads / 16 * 320 + (squares ? blocks : 0)) * static_cast<std::uint32_t>(sizeof(float))};
}

}  // namespace dodeca::gpu
