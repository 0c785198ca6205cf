// IQ3_XXS and IQ3_S: lattice points of four magnitudes, two to a byte of signs.
//
// Tile bodies (ib: 32 columns, k: 4 of them; everything one u32 per row, bytes from the lowest):
//   IQ3_XXS   per ib: indices of k 0..3; of k 4..7; the file's word of signs and scale
//   IQ3_S     per ib: low bytes of indices of k 0..3; of k 4..7; sign bytes. 2 high-bit vectors: vector k/4, byte k%4,
//             bit ib. 1 scale vector
#pragma once

#include "quant/formats/format.hpp"
#include "quant/formats/lattice.hpp"
#include "quant/iq_grids.hpp"

namespace dodeca::quant {

struct BlockIQ3_XXS {
  std::uint16_t d;
  std::uint8_t qs[64];
  std::uint8_t scales_signs[32];  // eight little-endian u32
};
struct TileIQ3_XXS : BlockTile<2, 1536, 256> {
  static constexpr int kPoints = 0;
};
template <>
struct Format<DType::kIQ3_XXS> : LatticeFormat<BlockIQ3_XXS, TileIQ3_XXS, 32> {
  static constexpr float kUnit = 0.25f;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) {
    return with_sign(kIq3xxsGrid[b.index[k / 4]][k % 4], sign_byte(b.sign[k / 8]), k);
  }
};

struct BlockIQ3_S {
  std::uint16_t d;
  std::uint8_t qs[64];
  std::uint8_t qh[8];
  std::uint8_t signs[32];
  std::uint8_t scales[4];
};
struct TileIQ3_S : BlockTile<2, 1728, 256> {
  static constexpr int kPoints = 0, kHighBits = 1536, kScales = 1664;
};
template <>
struct Format<DType::kIQ3_S> : LatticeFormat<BlockIQ3_S, TileIQ3_S, 32> {
  static constexpr float kUnit = 1.0f;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) { return with_sign(kIq3sGrid[b.index[k / 4]][k % 4], b.sign[k / 8], k); }
};

}  // namespace dodeca::quant
