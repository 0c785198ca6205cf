// The shape of a packed tile of 16 rows. "Lane r" is the 32-bit lane of row r in a 64-byte vector; a "unit" is four
// consecutive columns, so that unit u of lane r holds the codes of columns 4u..4u+3 of row r, one byte each.
//
// Block types: groups of one 64-byte header and kGroup bodies, one body per block (of 256, 128 or 32 columns). A header
// holds the block factors of its group, 64/kGroup bytes per block:
//   1 block    f16 d [16 rows], then f16 dmin or m (IQ4_XS: u16 scales_h; IQ2_K to IQ6_K: u16 shifts) [16]; or f32
//              scale [16]
//   2 blocks   f16 d [16]
//   4 blocks   E8M0 [16]
// Types with a row scale have a prologue of f32 or f16 [16] instead, at the start of the tile. So a tile has as many bytes
// as its 16 rows have in the file, in whole vectors, and every vector is aligned. Only IQ1_S and IQ1_M take 8 and 7 % more,
// codes of 12 instead of 11 bits, and IQ2_KS, IQ2_KL, IQ3_KS and IQ3_K 2 or 3 %, room for half a vector.
//
// What is in a body, and in which order, stands with each type in quant/formats, codes in quant/layout/tile_codes.hpp.
// Scales: bytes (Q2_K, Q6_K, IQ6_K, types with a row scale): vector s holds sub-blocks 4s..4s+3 at bytes 0, 2, 1, 3, so
// that two masks give the i16 pairs (4s, 4s+1) and (4s+2, 4s+3). Nibbles (Q3_K to Q5_K, IQ2_K to IQ5_K, IQ4_XS, lattice
// types): sub-blocks 2p and 2p+1 at bits 4p and 16+4p. Two-bit fields: at bits 2p and 16+2p; the minima of Q4_K and Q5_K 8
// bits higher.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dodeca::quant {

inline constexpr int kTileRows = 16;

template <int kGroup_, int kBodyBytes_, int kColumns_>
struct BlockTile {
  static constexpr int kGroup = kGroup_, kBodyBytes = kBodyBytes_, kColumns = kColumns_;
  static constexpr std::int64_t kGroupBytes = 64 + kGroup * kBodyBytes;

  [[gnu::always_inline]] static constexpr std::size_t bytes(std::int64_t n_in) {
    const std::int64_t blocks = n_in / kColumns, rest = blocks % kGroup;
    return static_cast<std::size_t>(blocks / kGroup * kGroupBytes + (rest != 0 ? 64 + rest * kBodyBytes : 0));
  }
  [[gnu::always_inline]] static constexpr std::int64_t header(std::int64_t block) {
    return block / kGroup * kGroupBytes + block % kGroup * (64 / kGroup);
  }
  [[gnu::always_inline]] static constexpr std::int64_t body(std::int64_t block) {
    return block / kGroup * kGroupBytes + 64 + block % kGroup * kBodyBytes;
  }
};

// Blocks without a header: kPrologue bytes, then bodies alone. The header of every block is the prologue; without one, the
// body, which then holds the factors.
template <int kPrologue, int kBodyBytes_, int kColumns_>
struct PlainTile {
  static constexpr int kGroup = 0, kBodyBytes = kBodyBytes_, kColumns = kColumns_;

  [[gnu::always_inline]] static constexpr std::size_t bytes(std::int64_t n_in) {
    return static_cast<std::size_t>(body(n_in / kColumns));
  }
  [[gnu::always_inline]] static constexpr std::int64_t header(std::int64_t block) {
    return kPrologue > 0 ? 0 : body(block);
  }
  [[gnu::always_inline]] static constexpr std::int64_t body(std::int64_t block) {
    return kPrologue + block * kBodyBytes;
  }
};

}  // namespace dodeca::quant
