// What a matrix-product kernel is called with. Plain data only: kernel files of every ISA level include this header.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/layout/layout.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu {

using quant::ActFormat;
using quant::kTileRows;
using quant::Layout;
using quant::Q8Block256;
using quant::Q8Block32;

// Work space of any kernel, besides one row of n_in floats.
inline constexpr std::size_t kFixedScratchBytes = 1280 << 10;

struct MatmulArgs {
  const Layout* layout;
  const std::byte* weights;           // tile 0 of this matrix, 64-byte aligned
  std::int64_t n_in;                  // columns (K)
  std::int64_t n_out;                 // rows; the last tile may be partial
  std::int64_t tile_begin, tile_end;  // the part to compute, in tiles of 16 rows
  const std::byte* acts;              // activation rows in layout->act format, 64-byte aligned
  std::size_t act_stride;        // bytes between activation rows, a multiple of 64, act_row_bytes(act, n_in) or more
  const std::int32_t* act_rows;  // [n_acts] which activation row feeds output i; null: row i
  std::int64_t n_acts;
  float* out;               // out[i * out_stride + r], r in [16*tile_begin, min(16*tile_end, n_out)): absolute row
  std::int64_t out_stride;  // floats
  bool accumulate;          // out += the results, which are complete before they are added
  std::byte* scratch;       // matmul_scratch_bytes(n_in) bytes, 64-byte aligned, this thread's own
};
using MatmulFn = void (*)(const MatmulArgs&) noexcept;

}  // namespace dodeca::cpu
