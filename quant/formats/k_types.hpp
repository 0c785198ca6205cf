// Q2_K, Q3_K, Q4_K, Q5_K, Q6_K: 256 weights in sub-blocks of 16 or 32 with small integer scales.
//
// Tile bodies, vectors in the order in which the products read them (g: sub-block of 16, k: of 32, inside the block):
//   Q2_K    16 code vectors: vector g, bits 2j: unit 4g+j; a scale vector before every four
//   Q3_K    2 low-nibble scale vectors, 1 of high scale bits; 3 vectors per p = g/2, of its units 0..7: bits 0-2 and 3-5
//           are units 0, 1; 2, 3; 4, 5; bits 6-7 the low bits of unit 6; of unit 7; the third bits of both
//   Q4_K    scale nibbles, min nibbles, high bits of both; 32 code vectors: vector i, low nibble: unit 2i, high: 2i+1
//   Q5_K    as Q4_K with a bit-plane vector before every four code vectors
//   Q6_K    32 nibble vectors, a two-bit vector before every two, a scale vector before every eight
#pragma once

#include "quant/formats/format.hpp"

namespace dodeca::quant {

struct BlockQ2_K {
  std::uint8_t scales[16];  // low nibble: scale, high nibble: minimum
  std::uint8_t qs[64];
  std::uint16_t d, dmin;
};
struct TileQ2_K : BlockTile<1, 1280, 256> {
  static constexpr int scales(int i) { return 320 * i; }
  static constexpr int codes(int i) { return scales(i / 4) + 64 + 64 * (i % 4); }
};
template <>
struct Format<DType::kQ2_K> : PackedFormat<BlockQ2_K, TileQ2_K, 16> {
  static constexpr bool kMinima = true;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
};

struct BlockQ3_K {
  std::uint8_t hmask[32];
  std::uint8_t qs[64];
  std::uint8_t scales[12];
  std::uint16_t d;
};
struct TileQ3_K : BlockTile<2, 1728, 256> {
  static constexpr int kScales = 0, kHighScales = 128;
  static constexpr int codes(int p) { return 192 + 192 * p; }
};
template <>
struct Format<DType::kQ3_K> : PackedFormat<BlockQ3_K, TileQ3_K, 16> {
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) { return b.code[k] - 4; }
  static int scale(const RowBlock& b, int g) { return b.scale[g] - 32; }
};

struct BlockQ4_K {
  std::uint16_t d, dmin;
  std::uint8_t scales[12];  // eight 6-bit scales and minima, see q4_k.cpp
  std::uint8_t qs[128];
};
struct TileQ4_K : BlockTile<1, 2240, 256> {
  static constexpr int kScales = 0, kMins = 64, kHighScales = 128, kCodes = 192;
};
template <>
struct Format<DType::kQ4_K> : PackedFormat<BlockQ4_K, TileQ4_K, 32> {
  static constexpr bool kMinima = true;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
};

struct BlockQ5_K {
  std::uint16_t d, dmin;
  std::uint8_t scales[12];
  std::uint8_t qh[32];
  std::uint8_t qs[128];
};
struct TileQ5_K : BlockTile<1, 2752, 256> {
  static constexpr int kScales = 0, kMins = 64, kHighScales = 128;
  static constexpr int high_bits(int i) { return 192 + 320 * i; }
  static constexpr int codes(int i) { return high_bits(i / 4) + 64 + 64 * (i % 4); }
};
template <>
struct Format<DType::kQ5_K> : PackedFormat<BlockQ5_K, TileQ5_K, 32> {
  static constexpr bool kMinima = true;
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
};

struct BlockQ6_K {
  std::uint8_t ql[128];
  std::uint8_t qh[64];
  std::int8_t scales[16];
  std::uint16_t d;
};
struct TileQ6_K : BlockTile<2, 3328, 256> {
  static constexpr int scales(int i) { return 832 * i; }
  static constexpr int high_bits(int i) { return scales(i / 4) + 64 + 192 * (i % 4); }
  static constexpr int codes(int i) { return high_bits(i / 2) + 64 + 64 * (i % 2); }
};
template <>
struct Format<DType::kQ6_K> : PackedFormat<BlockQ6_K, TileQ6_K, 16> {
  static void decode(const Block& block, float* y);
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) { return b.code[k] - 32; }
  static int scale(const RowBlock& b, int g) { return static_cast<std::int8_t>(b.scale[g]); }
};

}  // namespace dodeca::quant
