// Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: 32 weights with one f16 scale, the _1 kinds with an f16 offset as well.
//
// Tile bodies. Q4: 4 code vectors: vector i, low nibble: unit 2i, high: 2i+1. Q5: a bit-plane vector, then the same.
// Q8_0: 8 code vectors, code + 128.
#pragma once

#include "quant/formats/format.hpp"

namespace dodeca::quant {

struct BlockQ4_0 {
  std::uint16_t d;
  std::uint8_t qs[16];  // low nibbles: weights 0-15, high nibbles: 16-31
};
struct BlockQ4_1 {
  std::uint16_t d, m;
  std::uint8_t qs[16];
};
struct BlockQ5_0 {
  std::uint16_t d;
  std::uint8_t qh[4];  // little-endian u32: bit i is the fifth bit of weight i
  std::uint8_t qs[16];
};
struct BlockQ5_1 {
  std::uint16_t d, m;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
struct BlockQ8_0 {
  std::uint16_t d;
  std::int8_t qs[32];
};

struct TileQ4_0 : BlockTile<2, 256, 32> {
  static constexpr int kCodes = 0;
};
struct TileQ4_1 : BlockTile<1, 256, 32> {
  static constexpr int kCodes = 0;
};
struct TileQ5_0 : BlockTile<2, 320, 32> {
  static constexpr int kHighBits = 0, kCodes = 64;
};
struct TileQ5_1 : BlockTile<1, 320, 32> {
  static constexpr int kHighBits = 0, kCodes = 64;
};
struct TileQ8_0 : BlockTile<2, 512, 32> {
  static constexpr int kCodes = 0;
};

// Codes of a nibble in a tile, those of the types of four bits.
template <class Block, class Tile>
struct NibbleFormat : SmallFormat<Block, Tile> {
  static void put_row(const RowBlock& b, int r, std::byte* body) { codes4_to_tile(b, r, 8, body + Tile::kCodes); }
  static void get_row(const std::byte* body, int r, RowBlock& b) { codes4_from_tile(body + Tile::kCodes, r, 8, b); }
};
template <class Block, class Tile>
struct FiveBitFormat : SmallFormat<Block, Tile> {
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    codes5_to_tile(b, r, 0, body + Tile::kHighBits, body + Tile::kCodes);
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    codes5_from_tile(body + Tile::kHighBits, body + Tile::kCodes, r, 0, b);
  }
};

template <>
struct Format<DType::kQ4_0> : NibbleFormat<BlockQ4_0, TileQ4_0> {
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static int weight(const RowBlock& b, int k) { return b.code[k] - 8; }
};

template <>
struct Format<DType::kQ4_1> : NibbleFormat<BlockQ4_1, TileQ4_1> {
  static constexpr bool kOffset = true;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
};

template <>
struct Format<DType::kQ5_0> : FiveBitFormat<BlockQ5_0, TileQ5_0> {
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static int weight(const RowBlock& b, int k) { return b.code[k] - 16; }
};

template <>
struct Format<DType::kQ5_1> : FiveBitFormat<BlockQ5_1, TileQ5_1> {
  static constexpr bool kOffset = true;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
};

template <>
struct Format<DType::kQ8_0> : SmallFormat<BlockQ8_0, TileQ8_0> {
  static void decode(const Block& block, float* y);
  static void encode_once(const float* x, Block& block);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) { return static_cast<std::int8_t>(b.code[k]); }
};

}  // namespace dodeca::quant
