// One block of one row as plain integers: what packing, unpacking and the scalar kernels share. Holds every bit of the
// file's block. Specialised per type in row_block.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"

namespace dodeca::cpu {

struct alignas(64) RowBlock {
  std::uint8_t code[256];  // unsigned codes; Q8_0: the byte as it is
  std::uint8_t scale[16];  // per sub-block, as stored (Q6_K: the byte of an i8)
  std::uint8_t min[16];
  std::uint16_t d, m;  // bits of d and of dmin, m or scales_h; MXFP4: d is the E8M0 byte
  // Lattice types instead of codes: points of eight columns (IQ3: four), and per eight columns the sign index or byte
  // (IQ1: whether the shift is negative).
  std::uint16_t index[64];
  std::uint8_t sign[32];
};

// How a block type is cut and stored.
struct BlockFormat {
  quant::DType dtype;
  int columns;     // per block
  int file_bytes;  // per block of one row
  std::size_t (*tile_bytes)(std::int64_t n_in);
  std::int64_t (*header)(std::int64_t block);  // offsets in the tile
  std::int64_t (*body)(std::int64_t block);
  void (*from_file)(const std::byte* file, RowBlock& block);
  void (*to_file)(const RowBlock& block, std::byte* file);
  void (*from_tile)(const std::byte* header, const std::byte* body, RowBlock* blocks);  // [16]
  void (*to_tile)(const RowBlock* blocks, std::byte* header, std::byte* body);          // [16]
};
const BlockFormat& block_format(quant::DType dtype);  // every type of blocks that has a packed layout

}  // namespace dodeca::cpu
