// Types of ik_llama.cpp whose codes stand for the values of a table. A weight is d * scale * (value[code] + shift); the
// shift, one number for a table, is added where a bit of the sub-block says so.
//   IQ2_K to IQ6_K                   sub-blocks of 16; d, an f16, in the block
//   IQ2_KS, IQ3_KS, IQ4_KS, IQ5_KS   of 32; d of the whole row, before its blocks: an f16 (2, 3 bits) or f32 (4, 5)
//   IQ4_KSS                          as IQ4_KS, and the eight bits of a scale are hidden in the codes
//   IQ2_KL                           of 32; d of the row, an f16; a code of five bits stands for two values; no shift
//
// Tile bodies: scales, then for every 32 columns codes as in quant/layout/tile_codes.hpp (IQ2_KL: for every 64; IQ4_KSS:
// nothing but the words of the file). Scales of 16 columns: low nibbles in two vectors and (IQ3_K to IQ5_K) upper two bits
// in a third, as in Q3_K; bytes for IQ6_K; the shifts are in the header's second half. Of 32 columns: bytes, twice the
// scale as stored (IQ4, IQ5: its upper seven bits), and in bit 0 the shift. So IQ2_KS, IQ2_KL, IQ3_KS and IQ3_K take 2 or 3 %
// more than in the file: two bytes for a block of a row.
#pragma once

#include "quant/formats/format.hpp"
#include "quant/formats/iq4.hpp"

namespace dodeca::quant {

// What codes stand for. Of internal linkage: vector code reads them.
constexpr std::int8_t kIq2kValues[4] = {-31, -13, 1, 17};
constexpr std::int8_t kIq3kValues[8] = {-63, -40, -23, -10, 1, 13, 28, 47};
constexpr std::int8_t kIq5kValues[32] = {-126, -114, -103, -92, -83, -74, -65, -57, -50, -43, -36,
                                         -30,  -24,  -18,  -12, -6,  -1,  5,   11,  17,  23,  29,
                                         36,   43,   51,   59,  68,  77,  87,  97,  109, 121};
// Of codes q the nearest integers to -127 + 6.2568 q - 0.11218 q^2 + 0.0011972 q^3. ik_llama.cpp multiplies by these on
// processors and cards; only its row decoder for processors takes the polynomial as it is.
constexpr std::int8_t kIq6kValues[64] = {
    -127, -121, -115, -109, -104, -98, -93, -88, -84, -79, -74, -70, -66, -62, -58, -54, -51, -47, -44, -40, -37, -34,
    -31,  -28,  -25,  -22,  -19,  -16, -13, -11, -8,  -5,  -2,  0,   3,   6,   9,   12,  14,  17,  20,  23,  27,  30,
    33,   36,   40,   44,   47,   51,  55,  59,  63,  68,  72,  77,  82,  87,  92,  98,  103, 109, 115, 121};
// Two values for a code.
constexpr std::int8_t kIq2klValues[32][2] = {
    {-63, -23}, {-63, 13}, {-40, -63}, {-40, -10}, {-40, 13}, {-40, 47}, {-23, -40}, {-23, -23},
    {-23, 1},   {-23, 13}, {-23, 28},  {-10, -63}, {-10, 1},  {-10, 13}, {-10, 47},  {1, -23},
    {1, -10},   {1, 1},    {1, 13},    {1, 28},    {13, -40}, {13, -23}, {13, -10},  {13, 1},
    {13, 13},   {28, -63}, {28, -23},  {28, 1},    {28, 28},  {28, 47},  {47, -23},  {47, 13}};

// The value of a code of kBits, and what is added to it where the sub-block is shifted.
template <int kBits>
constexpr int table_value(int code) {
  if constexpr (kBits == 2) {
    return kIq2kValues[code];
  } else if constexpr (kBits == 3) {
    return kIq3kValues[code];
  } else if constexpr (kBits == 4) {
    return kIq4Values[code];
  } else if constexpr (kBits == 5) {
    return kIq5kValues[code];
  } else {
    static_assert(kBits == 6);
    return kIq6kValues[code];
  }
}
constexpr int kIq4Shift = 4;
constexpr int table_shift(int bits) {
  constexpr int kShifts[] = {5, 4, kIq4Shift, 2, 1};
  return kShifts[bits - 2];
}

// ---- tiles

// kScaleBits: 4, 6 or 8.
template <int kBits_, int kScaleBits_>
struct TableTile16 : BlockTile<1, 32 * kScaleBits_ + 512 * kBits_, 256> {
  static constexpr int kBits = kBits_, kScaleBits = kScaleBits_;
  static constexpr int scales(int i) { return 64 * i; }
  static constexpr int codes(int k) { return 32 * kScaleBits + 64 * kBits * k; }
};
template <int kBits_, int kChunks_ = 8>
struct TableTile32 : PlainTile<64, 128 + 64 * kBits_ * kChunks_, 256> {
  static constexpr int kBits = kBits_, kScaleBits = 8, kChunks = kChunks_;
  static constexpr int scales(int i) { return 64 * i; }
  static constexpr int codes(int k) { return 128 + 64 * kBits * k; }
};
struct TileIQ2_K : TableTile16<2, 4> {};
struct TileIQ3_K : TableTile16<3, 6> {};
struct TileIQ4_K : TableTile16<4, 6> {};
struct TileIQ5_K : TableTile16<5, 6> {};
struct TileIQ6_K : TableTile16<6, 8> {};
struct TileIQ2_KS : TableTile32<2> {};
struct TileIQ3_KS : TableTile32<3> {};
struct TileIQ4_KS : TableTile32<4> {};
struct TileIQ5_KS : TableTile32<5> {};
struct TileIQ2_KL : TableTile32<5, 4> {};
struct TileIQ4_KSS : PlainTile<64, 2048, 256> {
  static constexpr int kBits = 4;
  static constexpr int codes(int k) { return 256 * k; }
};

// ---- formats

template <DType T, class Block, class Tile>
struct TableFormat16 : PackedFormat<Block, Tile, 16> {
  static constexpr int kBits = Tile::kBits;
  static void decode(const Block& block, float* y);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) {
    return table_value<kBits>(b.code[k]) + (b.m >> k / 16 & 1) * table_shift(kBits);
  }
  static int scale(const RowBlock& b, int g) {
    if constexpr (Tile::kScaleBits == 8) return static_cast<std::int8_t>(b.scale[g]);
    return b.scale[g] - (1 << (Tile::kScaleBits - 1));
  }
};
template <DType T, class Block, class Tile>
struct TableFormat32 : PackedFormat<Block, Tile, 32> {
  static constexpr int kBits = Tile::kBits;
  static void decode(const Block& block, float row_scale, float* y);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
  static int weight(const RowBlock& b, int k) {
    return table_value<kBits>(b.code[k]) + (b.scale[k / 32] & 1) * table_shift(kBits);
  }
};

struct BlockIQ2_K {
  std::uint16_t d, shifts;
  std::uint8_t scales[8];
  std::uint8_t qs[64];
};
template <>
struct Format<DType::kIQ2_K> : TableFormat16<DType::kIQ2_K, BlockIQ2_K, TileIQ2_K> {
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
};

// Scales are odd: 2 n + 1, and a sign.
struct BlockIQ3_K {
  std::uint16_t d, shifts, signs;
  std::uint8_t scales[8];
  std::uint8_t qs[64];
  std::uint8_t qh[32];
};
template <>
struct Format<DType::kIQ3_K> : TableFormat16<DType::kIQ3_K, BlockIQ3_K, TileIQ3_K> {
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
};

struct BlockIQ4_K {
  std::uint16_t d, shifts;
  std::uint8_t scales_h[4], scales_l[8];
  std::uint8_t qs[128];
};
template <>
struct Format<DType::kIQ4_K> : TableFormat16<DType::kIQ4_K, BlockIQ4_K, TileIQ4_K> {
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
};

struct BlockIQ5_K {
  std::uint16_t d, shifts;
  std::uint8_t scales_h[4], scales_l[8];
  std::uint8_t qs[128];
  std::uint8_t qh[32];
};
template <>
struct Format<DType::kIQ5_K> : TableFormat16<DType::kIQ5_K, BlockIQ5_K, TileIQ5_K> {
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
};

struct BlockIQ6_K {
  std::uint16_t d, shifts;
  std::int8_t scales[16];
  std::uint8_t qs[128];
  std::uint8_t qh[64];
};
template <>
struct Format<DType::kIQ6_K> : TableFormat16<DType::kIQ6_K, BlockIQ6_K, TileIQ6_K> {
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
};

// shifts: bits 0-7 the shifts, 8-15 the fifth bits of the scales.
struct BlockIQ2_KS {
  std::uint16_t shifts;
  std::uint8_t scales[4];
  std::uint8_t qs[64];
};
template <>
struct Format<DType::kIQ2_KS> : TableFormat32<DType::kIQ2_KS, BlockIQ2_KS, TileIQ2_KS> {
  static constexpr std::size_t kRowPrefix = 2;
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static int scale(const RowBlock& b, int g) { return (b.scale[g] >> 1) - 16; }
};

// shifts: bits 0-7 the fifth bits of the scales, 8-15 the shifts.
struct BlockIQ3_KS {
  std::uint16_t shifts;
  std::uint8_t scales[4];
  std::uint8_t qs[64];
  std::uint8_t qh[32];
};
template <>
struct Format<DType::kIQ3_KS> : TableFormat32<DType::kIQ3_KS, BlockIQ3_KS, TileIQ3_KS> {
  static constexpr std::size_t kRowPrefix = 2;
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static int scale(const RowBlock& b, int g) { return (b.scale[g] >> 1) - 16; }
};

struct BlockIQ2_KL {
  std::uint16_t scales_h;
  std::uint8_t scales_l[4];
  std::uint8_t qs[64];
  std::uint8_t qh[16];
};
// RowBlock::code[j] is the code of columns 2j and 2j + 1.
template <>
struct Format<DType::kIQ2_KL> : TableFormat32<DType::kIQ2_KL, BlockIQ2_KL, TileIQ2_KL> {
  static constexpr std::size_t kRowPrefix = 2;
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static int weight(const RowBlock& b, int k) { return kIq2klValues[b.code[k / 2]][k % 2]; }
  static int scale(const RowBlock& b, int g) { return (b.scale[g] >> 1) - 32; }
};

template <DType T, class Block, class Tile>
struct RowScaledFormat32 : TableFormat32<T, Block, Tile> {
  static constexpr std::size_t kRowPrefix = sizeof(float);
  static int scale(const RowBlock& b, int g) { return (b.scale[g] & 254) - 127; }
  static float factor(const RowBlock& b) { return b.row_scale; }
};

struct BlockIQ4_KS {
  std::uint8_t scales[8];
  std::uint8_t qs[128];
};
template <>
struct Format<DType::kIQ4_KS> : RowScaledFormat32<DType::kIQ4_KS, BlockIQ4_KS, TileIQ4_KS> {
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
};

// Eight words for every 32 weights. Bit i of their scale is bit 0 of word i. The word without it, xor itself shifted right
// by one, is 16 bits of nibbles: 15 bits are enough for them, because the codes are chosen so that their parity is even.
struct BlockIQ4_KSS {
  std::uint16_t words[64];
};
template <>
struct Format<DType::kIQ4_KSS> : RowScaledFormat32<DType::kIQ4_KSS, BlockIQ4_KSS, TileIQ4_KSS> {
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
  static void put_row(const RowBlock& b, int r, std::byte* body);
  static void get_row(const std::byte* body, int r, RowBlock& b);
};

struct BlockIQ5_KS {
  std::uint8_t scales[8];
  std::uint8_t qs[128];
  std::uint8_t qh[32];
};
template <>
struct Format<DType::kIQ5_KS> : RowScaledFormat32<DType::kIQ5_KS, BlockIQ5_KS, TileIQ5_KS> {
  static void read(const Block& in, RowBlock& out);
  static void write(const RowBlock& in, Block& out);
};

}  // namespace dodeca::quant
