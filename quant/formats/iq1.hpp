// IQ1_S and IQ1_M: ternary lattice points of eight weights, shifted by an eighth up or down. Products count in eighths.
//
// Tile bodies (ib: 32 columns, g: 8 of them; everything one u32 per row, bytes from the lowest):
//   IQ1_S     1 scale vector, bit 3 of a nibble: the sign of the shift. Per v = ib/2: low bytes of the codes of ib 2v and
//             2v+1 (quant/iq_tables.hpp); their upper nibbles, byte g: the code of g of ib 2v and of 2v+1
//   IQ1_M     2 vectors of the file's u16 scales; 1 of the signs of the shifts, byte g, bit ib; then as IQ1_S. No header:
//             the scales hold d
#pragma once

#include "quant/formats/format.hpp"
#include "quant/formats/lattice.hpp"
#include "quant/iq_grids.hpp"

namespace dodeca::quant {

inline int ternary_weight(const RowBlock& b, int k) {
  return 8 * kIq1sGrid[b.index[k / 8]][k % 8] + (b.sign[k / 8] != 0 ? -1 : 1);
}

struct BlockIQ1_S {
  std::uint16_t d;
  std::uint8_t qs[32];
  std::uint16_t qh[8];
};
struct TileIQ1_S : BlockTile<2, 832, 256> {
  static constexpr int kScales = 0;
  static constexpr int points(int ib) { return 64 + 192 * (ib / 2) + 64 * (ib % 2); }
  static constexpr int high_bits(int v) { return 64 + 192 * v + 128; }
};
template <>
struct Format<DType::kIQ1_S> : LatticeFormat<BlockIQ1_S, TileIQ1_S, 32> {
  static constexpr float kUnit = 0.125f;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) { return ternary_weight(b, k); }
};

struct BlockIQ1_M {
  std::uint8_t qs[32];
  std::uint8_t qh[16];
  std::uint16_t scales[4];  // the four top nibbles together are the f16 d
};
struct TileIQ1_M : PlainTile<0, 960, 256> {
  static constexpr int kScales = 0, kSigns = 128;
  static constexpr int points(int ib) { return 192 + 192 * (ib / 2) + 64 * (ib % 2); }
  static constexpr int high_bits(int v) { return 192 + 192 * v + 128; }
};
template <>
struct Format<DType::kIQ1_M> : LatticeFormat<BlockIQ1_M, TileIQ1_M, 16> {
  static constexpr float kUnit = 0.125f;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) { return ternary_weight(b, k); }
};

}  // namespace dodeca::quant
