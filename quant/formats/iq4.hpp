// Four-bit tables: IQ4_NL, IQ4_XS (values denser around zero) and MXFP4 (E2M1 floats under a power-of-two scale).
//
// Tile bodies: code vectors, vector i, low nibble: unit 2i, high: 2i+1. Before them IQ4_XS has a vector of low scale nibbles.
#pragma once

#include "quant/formats/format.hpp"
#include "quant/formats/legacy.hpp"

namespace dodeca::quant {

// What a code of the IQ4 types stands for, and twice what one of MXFP4 does. Of internal linkage: vector code reads them.
alignas(16) constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                    1,    13,   25,  38,  53,  69,  89,  113};
alignas(16) constexpr std::int8_t kDoubledE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// A table plus a bias that makes its values positive, for instructions that want unsigned codes.
struct BiasedTable {
  alignas(16) std::uint8_t value[16];
};
constexpr BiasedTable biased(const std::int8_t (&table)[16], int bias) {
  BiasedTable out{};
  for (int i = 0; i < 16; ++i) out.value[i] = static_cast<std::uint8_t>(table[i] + bias);
  return out;
}

struct BlockIQ4_NL {
  std::uint16_t d;
  std::uint8_t qs[16];
};
struct TileIQ4_NL : TileQ4_0 {};
template <>
struct Format<DType::kIQ4_NL> : NibbleFormat<BlockIQ4_NL, TileIQ4_NL> {
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static int weight(const RowBlock& b, int k) { return kIq4Values[b.code[k]]; }
};

struct BlockIQ4_XS {
  std::uint16_t d;
  std::uint16_t scales_h;
  std::uint8_t scales_l[4];
  std::uint8_t qs[128];
};
struct TileIQ4_XS : BlockTile<1, 2112, 256> {
  static constexpr int kBits = 4, kScales = 0;
  static constexpr int codes(int k) { return 64 + 256 * k; }
};
template <>
struct Format<DType::kIQ4_XS> : PackedFormat<BlockIQ4_XS, TileIQ4_XS, 32> {
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) { return kIq4Values[b.code[k]]; }
  static int scale(const RowBlock& b, int g) { return b.scale[g] - 32; }
};

struct BlockMXFP4 {
  std::uint8_t e;  // E8M0
  std::uint8_t qs[16];
};
struct TileMXFP4 : BlockTile<4, 256, 32> {
  static constexpr int kCodes = 0;
};
template <>
struct Format<DType::kMXFP4> : NibbleFormat<BlockMXFP4, TileMXFP4> {
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static int weight(const RowBlock& b, int k) { return kDoubledE2M1[b.code[k]]; }
  static float factor(const RowBlock& b) { return e8m0_half_to_f32(static_cast<std::uint8_t>(b.d)); }
};

}  // namespace dodeca::quant
