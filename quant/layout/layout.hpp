// Packed layouts: how the weights of a matrix lie in memory for a product. Named and invertible; the same on every
// processor, and where a device may see them. The key is (type, layout): a type may have several.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "quant/dtype.hpp"
#include "quant/layout/tile.hpp"

namespace dodeca::quant {

enum class LayoutKind {
  kRows,     // as in the file: row after row; every decodable type has it
  kTiles16,  // tiles of 16 interleaved rows (tile.hpp); types with vector kernels
};

// How the rows that a layout's weights are multiplied with are stored.
enum class ActFormat {
  kF32,     // n_in floats
  kQ8_256,  // integers in blocks of 256 (quant/layout/q8_blocks.hpp); n_in is a multiple of 256
  kQ8_32,   // in blocks of 32; n_in is a multiple of 32
};

struct Layout {
  DType dtype;  // what it packs
  LayoutKind kind;
  std::string_view name;  // "q2_k_x16", "q2_k_rows"
  ActFormat act;
  std::size_t (*tile_bytes)(std::int64_t n_in);  // 16 rows of n_in weights; a multiple of 64
  // rows: 16 pointers to one row of the file each (its prefix and blocks), any alignment; null = a row of zero weights
  // (padding of the last tile).
  void (*pack)(const std::byte* const* rows, std::int64_t n_in, std::byte* tile);
  void (*unpack)(const std::byte* tile, std::int64_t n_in,
                 std::byte* const* rows);  // exact inverse; null rows are skipped
};

// Null when the type has no such layout.
const Layout* find_layout(DType dtype, LayoutKind kind);
// What is made for products on this machine's processors: kTiles16 where there is one, otherwise kRows. Throws
// std::invalid_argument for a type that cannot be decoded.
const Layout& layout_of(DType dtype);
std::span<const Layout> all_layouts();

}  // namespace dodeca::quant
