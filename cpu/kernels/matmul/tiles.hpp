// Where everything lies in a packed tile of 16 rows. "Lane r" is the 32-bit lane of row r in a 64-byte vector; a "unit"
// is four consecutive columns, so that unit u of lane r holds the codes of columns 4u..4u+3 of row r, one byte each.
//
// Block types: groups of one 64-byte header and kGroup bodies, one body per block (of 256, 128 or 32 columns). A header
// holds the block factors of its group, 64/kGroup bytes per block:
//   Q2_K, Q4_K, Q5_K, Q4_1, Q5_1  f16 d [16 rows], then f16 dmin or m [16]
//   IQ4_XS                        f16 d [16], then u16 scales_h [16]
//   Q3_K, Q6_K, Q4_0, Q5_0, Q8_0, IQ4_NL, IQ2_*, IQ3_*, IQ1_S   f16 d [16], two blocks per header
//   MXFP4                         E8M0 [16], four blocks per header
//   F8_E4M3_B128                  f32 scale [16]
// So a tile has as many bytes as its 16 rows have in the file, in whole headers, and every vector is aligned. Only IQ1_S
// and IQ1_M take 8 and 7 % more: codes of 12 instead of 11 bits.
//
// Bodies, vectors in the order in which the products read them (g: sub-block of 16, k: of 32, counted inside the block):
//   Q2_K    16 code vectors: vector g, bits 2j: unit 4g+j; a scale vector before every four
//   Q3_K    2 low-nibble scale vectors, 1 of high scale bits; 3 vectors per p = g/2, of its units 0..7: bits 0-2 and 3-5 are
//           units 0, 1; 2, 3; 4, 5; bits 6-7 the low bits of unit 6; of unit 7; the third bits of both
//   Q4_K    scale nibbles, min nibbles, high bits of both; 32 code vectors: vector i, low nibble: unit 2i, high: 2i+1
//   Q5_K    as Q4_K with a bit-plane vector before every four code vectors
//   Q6_K    32 nibble vectors, a two-bit vector before every two, a scale vector before every eight
//   IQ4_XS  1 vector of low scale nibbles; 32 code vectors as Q4_K
//   Q4_0, Q4_1, IQ4_NL, MXFP4     4 code vectors as Q4_K
//   Q5_0, Q5_1                    1 bit-plane vector, then the same
//   Q8_0                          8 code vectors, code + 128
//   F8_E4M3_B128, F32, F16, BF16  column-major: 16 rows of column 0, then of column 1, ...
// Scales. Bytes (Q2_K, Q6_K): vector s holds sub-blocks 4s..4s+3 at bytes 0, 2, 1, 3, so that two masks give the i16
// pairs (4s, 4s+1) and (4s+2, 4s+3). Nibbles (Q3_K, Q4_K, Q5_K, IQ4_XS): sub-blocks 2p and 2p+1 at bits 4p and 16+4p.
// Two-bit fields: at bits 2p and 16+2p; the minima of Q4_K and Q5_K 8 bits higher. Fifth bits (Q5): of the unit in
// vector i's low nibble its top bit, at bit 2i+1; of the one in the high nibble its lowest bit, at bit 2i: the high
// nibble then reads as 16 times the top four bits, and masking gives 8 times the code. Q6_K likewise: field j (bits 2j)
// of vector g belongs to unit 4g+j: even j its top two bits, odd j its lowest two.
//
// Lattice types (ib: 32 columns, g: 8 of them, k: 4 of them; everything one u32 per row, bytes from the lowest):
//   IQ2_XXS   per ib: indices of g 0..3; the file's word of signs and scale
//   IQ2_XS    per ib: low bytes of the file's four u16; high bytes (bit 8 of the index, sign index). 2 scale vectors
//   IQ2_S     per ib: low bytes of indices; sign bytes. 2 high-bit vectors: vector ib/4, byte g, bits 2(ib%4). 2 scales
//   IQ3_XXS   per ib: indices of k 0..3; of k 4..7; the file's word of signs and scale
//   IQ3_S     per ib: low bytes of indices of k 0..3; of k 4..7; sign bytes. 2 high-bit vectors: vector k/4, byte k%4,
//             bit ib. 1 scale vector
//   IQ1_S     1 scale vector, bit 3 of a nibble: the sign of the shift. Per v = ib/2: low bytes of the codes of ib 2v and
//             2v+1 (iq_tables.hpp); their upper nibbles, byte g: the code of g of ib 2v and of 2v+1
//   IQ1_M     2 vectors of the file's u16 scales; 1 of the signs of the shifts, byte g, bit ib; then as IQ1_S. No header:
//             the scales hold d
// Scale vectors hold nibbles of eight sub-blocks as described above.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/matmul/matmul_args.hpp"

namespace dodeca::cpu {

// Work space of any kernel, besides one row of n_in floats.
inline constexpr std::size_t kFixedScratchBytes = 1280 << 10;

template <int kGroup_, int kBodyBytes_, int kColumns_>
struct BlockTile {
  static constexpr int kGroup = kGroup_, kBodyBytes = kBodyBytes_, kColumns = kColumns_;
  static constexpr std::int64_t kGroupBytes = 64 + kGroup * kBodyBytes;

  [[gnu::always_inline]] static std::size_t bytes(std::int64_t n_in) {
    const std::int64_t blocks = n_in / kColumns, rest = blocks % kGroup;
    return static_cast<std::size_t>(blocks / kGroup * kGroupBytes + (rest != 0 ? 64 + rest * kBodyBytes : 0));
  }
  [[gnu::always_inline]] static std::int64_t header(std::int64_t block) {
    return block / kGroup * kGroupBytes + block % kGroup * (64 / kGroup);
  }
  [[gnu::always_inline]] static std::int64_t body(std::int64_t block) {
    return block / kGroup * kGroupBytes + 64 + block % kGroup * kBodyBytes;
  }
};

// Functions give the offset of vector i of a kind where vectors of several kinds take turns.
struct TileQ2_K : BlockTile<1, 1280, 256> {
  static constexpr int scales(int i) { return 320 * i; }
  static constexpr int codes(int i) { return scales(i / 4) + 64 + 64 * (i % 4); }
};
struct TileQ3_K : BlockTile<2, 1728, 256> {
  static constexpr int kScales = 0, kHighScales = 128;
  static constexpr int codes(int p) { return 192 + 192 * p; }
};
struct TileQ4_K : BlockTile<1, 2240, 256> {
  static constexpr int kScales = 0, kMins = 64, kHighScales = 128, kCodes = 192;
};
struct TileQ5_K : BlockTile<1, 2752, 256> {
  static constexpr int kScales = 0, kMins = 64, kHighScales = 128;
  static constexpr int high_bits(int i) { return 192 + 320 * i; }
  static constexpr int codes(int i) { return high_bits(i / 4) + 64 + 64 * (i % 4); }
};
struct TileQ6_K : BlockTile<2, 3328, 256> {
  static constexpr int scales(int i) { return 832 * i; }
  static constexpr int high_bits(int i) { return scales(i / 4) + 64 + 192 * (i % 4); }
  static constexpr int codes(int i) { return high_bits(i / 2) + 64 + 64 * (i % 2); }
};
struct TileIQ4_XS : BlockTile<1, 2112, 256> {
  static constexpr int kScales = 0, kCodes = 64;
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
struct TileIQ4_NL : TileQ4_0 {};
struct TileMXFP4 : BlockTile<4, 256, 32> {
  static constexpr int kCodes = 0;
};
struct TileIQ2_XXS : BlockTile<2, 1024, 256> {
  static constexpr int kPoints = 0;
};
struct TileIQ2_XS : BlockTile<2, 1152, 256> {
  static constexpr int kPoints = 0, kScales = 1024;
};
struct TileIQ2_S : BlockTile<2, 1280, 256> {
  static constexpr int kPoints = 0, kHighBits = 1024, kScales = 1152;
};
struct TileIQ3_XXS : BlockTile<2, 1536, 256> {
  static constexpr int kPoints = 0;
};
struct TileIQ3_S : BlockTile<2, 1728, 256> {
  static constexpr int kPoints = 0, kHighBits = 1536, kScales = 1664;
};
struct TileIQ1_S : BlockTile<2, 832, 256> {
  static constexpr int kScales = 0;
  static constexpr int points(int ib) { return 64 + 192 * (ib / 2) + 64 * (ib % 2); }
  static constexpr int high_bits(int v) { return 64 + 192 * v + 128; }
};
struct TileIQ1_M {  // no header
  static constexpr int kBodyBytes = 960, kColumns = 256;
  static constexpr int kScales = 0, kSigns = 128;
  static constexpr int points(int ib) { return 192 + 192 * (ib / 2) + 64 * (ib % 2); }
  static constexpr int high_bits(int v) { return 192 + 192 * v + 128; }

  [[gnu::always_inline]] static std::size_t bytes(std::int64_t n_in) {
    return static_cast<std::size_t>(body(n_in / kColumns));
  }
  [[gnu::always_inline]] static std::int64_t header(std::int64_t block) { return body(block); }
  [[gnu::always_inline]] static std::int64_t body(std::int64_t block) { return block * kBodyBytes; }
};
struct TileF8 : BlockTile<1, 2048, 128> {
  static constexpr int kCodes = 0;
};

}  // namespace dodeca::cpu
