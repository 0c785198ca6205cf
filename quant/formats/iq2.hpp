// IQ2_XXS, IQ2_XS, IQ2_S: lattice points of eight magnitudes with signs beside them.
//
// Tile bodies (ib: 32 columns, g: 8 of them; everything one u32 per row, bytes from the lowest):
//   IQ2_XXS   per ib: indices of g 0..3; the file's word of signs and scale
//   IQ2_XS    per ib: low bytes of the file's four u16; high bytes (bit 8 of the index, sign index). 2 scale vectors
//   IQ2_S     per ib: low bytes of indices; sign bytes. 2 high-bit vectors: vector ib/4, byte g, bits 2(ib%4). 2 scales
#pragma once

#include "quant/formats/format.hpp"
#include "quant/formats/lattice.hpp"
#include "quant/iq_grids.hpp"

namespace dodeca::quant {

struct BlockIQ2_XXS {
  std::uint16_t d;
  std::uint16_t qs[32];  // per 32 weights: u32 of four grid indices, u32 of four sign indices and the scale
};
struct TileIQ2_XXS : BlockTile<2, 1024, 256> {
  static constexpr int kPoints = 0;
};
template <>
struct Format<DType::kIQ2_XXS> : LatticeFormat<BlockIQ2_XXS, TileIQ2_XXS, 32> {
  static constexpr float kUnit = 0.125f;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) {
    return with_sign(kIq2xxsGrid[b.index[k / 8]][k % 8], sign_byte(b.sign[k / 8]), k);
  }
};

struct BlockIQ2_XS {
  std::uint16_t d;
  std::uint16_t qs[32];
  std::uint8_t scales[8];
};
struct TileIQ2_XS : BlockTile<2, 1152, 256> {
  static constexpr int kPoints = 0, kScales = 1024;
};
template <>
struct Format<DType::kIQ2_XS> : LatticeFormat<BlockIQ2_XS, TileIQ2_XS, 16> {
  static constexpr float kUnit = 0.125f;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) {
    return with_sign(kIq2xsGrid[b.index[k / 8]][k % 8], sign_byte(b.sign[k / 8]), k);
  }
};

struct BlockIQ2_S {
  std::uint16_t d;
  std::uint8_t qs[32];
  std::uint8_t signs[32];
  std::uint8_t qh[8];
  std::uint8_t scales[8];
};
struct TileIQ2_S : BlockTile<2, 1280, 256> {
  static constexpr int kPoints = 0, kHighBits = 1024, kScales = 1152;
};
template <>
struct Format<DType::kIQ2_S> : LatticeFormat<BlockIQ2_S, TileIQ2_S, 16> {
  static constexpr float kUnit = 0.125f;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) { return with_sign(kIq2sGrid[b.index[k / 8]][k % 8], b.sign[k / 8], k); }
};

}  // namespace dodeca::quant
