// The parts of row_block.cpp's table: the file side, one specialisation per block type, in row_block_file.cpp and
// row_block_iq.cpp; the lattice types, in row_block_iq.cpp.
#pragma once

#include <cstring>
#include <span>

#include "cpu/kernels/matmul/row_block.hpp"

namespace dodeca::cpu {

template <quant::DType T>
void from_file(const std::byte* file, RowBlock& block);
template <quant::DType T>
void to_file(const RowBlock& block, std::byte* file);

std::span<const BlockFormat> lattice_formats();

// Lane r of vector v.
inline std::uint32_t get(const std::byte* vectors, int v, int r) {
  std::uint32_t lane;
  std::memcpy(&lane, vectors + 64 * v + 4 * r, 4);
  return lane;
}
inline void put(std::byte* vectors, int v, int r, std::uint32_t lane) {
  std::memcpy(vectors + 64 * v + 4 * r, &lane, 4);
}

// Fields of two or four bits of n sub-blocks: g = 2p + e at bit width*p + 16e.
inline std::uint32_t fields(const std::uint8_t* values, int n, int shift, int width) {
  std::uint32_t lane = 0;
  for (int g = 0; g < n; ++g) {
    lane |= ((static_cast<std::uint32_t>(values[g]) >> shift) & ((1u << width) - 1))
            << (width * (g / 2) + 16 * (g % 2));
  }
  return lane;
}
inline std::uint8_t field(std::uint32_t lane, int g, int width) {
  return static_cast<std::uint8_t>((lane >> (width * (g / 2) + 16 * (g % 2))) & ((1u << width) - 1));
}

}  // namespace dodeca::cpu
