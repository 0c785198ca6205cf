// Q4_0, Q4_1, Q5_0, Q5_1, Q6_0, Q8_0: 32 weights with one f16 scale, the _1 kinds with an f16 offset as well. Q6_0 is
// ik_llama.cpp's.
//
// Tile bodies: codes as in quant/layout/tile_codes.hpp; Q8_0: 8 code vectors, code + 128.
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
// Two upper bits of weights l, 16 + l, 8 + l and 24 + l in byte l, from the lowest on.
struct BlockQ6_0 {
  std::uint16_t d;
  std::uint8_t qh[8];
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
struct TileQ6_0 : BlockTile<2, 384, 32> {
  static constexpr int kCodes = 0;
};
struct TileQ8_0 : BlockTile<2, 512, 32> {
  static constexpr int kCodes = 0;
};

// Codes of a nibble in a tile, those of the types of four bits.
template <class Block, class Tile>
struct NibbleFormat : SmallFormat<Block, Tile> {
  static void put_row(const RowBlock& b, int r, std::byte* body) { codes4_to_tile(b, r, 0, body + Tile::kCodes); }
  static void get_row(const std::byte* body, int r, RowBlock& b) { codes4_from_tile(body + Tile::kCodes, r, 0, b); }
};
template <class Block, class Tile>
struct FiveBitFormat : SmallFormat<Block, Tile> {
  static void put_row(const RowBlock& b, int r, std::byte* body) { codes5_to_tile(b, r, 0, body + Tile::kHighBits); }
  static void get_row(const std::byte* body, int r, RowBlock& b) { codes5_from_tile(body + Tile::kHighBits, r, 0, b); }
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
struct Format<DType::kQ6_0> : SmallFormat<BlockQ6_0, TileQ6_0> {
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body) { codes_to_tile<6>(b, r, 0, body + kCodes); }
  static void get_row(const std::byte* body, int r, RowBlock& b) { codes_from_tile<6>(body + kCodes, r, 0, b); }
  static int weight(const RowBlock& b, int k) { return b.code[k] - 32; }
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
