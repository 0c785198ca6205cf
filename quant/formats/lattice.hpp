// What the formats on lattices share: pieces of indices and signs in RowBlock, in blocks and in lanes.
#pragma once

#include <cstdint>
#include <cstring>

#include "quant/formats/format.hpp"
#include "quant/layout/row_block.hpp"

namespace dodeca::quant {

// Scales are odd: 2 s + 1.
template <class Block, class Tile, int kSub>
struct LatticeFormat : PackedFormat<Block, Tile, kSub> {
  static int scale(const RowBlock& b, int g) { return 2 * b.scale[g] + 1; }
};

// Column k of a point, negative where bit k % 8 of the sign byte is set.
inline int with_sign(int value, unsigned sign_byte, int k) { return (sign_byte >> (k % 8)) & 1 ? -value : value; }

inline std::uint8_t byte_of(std::uint32_t lane, int i) { return static_cast<std::uint8_t>(lane >> 8 * i); }
inline std::uint16_t half_of(std::uint32_t lane, int i) { return static_cast<std::uint16_t>(lane >> 16 * i); }

// The low bytes of four indices.
inline std::uint32_t low_bytes(const std::uint16_t* index) {
  std::uint32_t lane = 0;
  for (int i = 0; i < 4; ++i) lane |= static_cast<std::uint32_t>(index[i] & 255) << 8 * i;
  return lane;
}
inline void set_low_bytes(std::uint32_t lane, std::uint16_t* index) {
  for (int i = 0; i < 4; ++i) index[i] = byte_of(lane, i);
}
inline void or_high(std::uint16_t& index, std::uint32_t bits) { index = static_cast<std::uint16_t>(index | bits << 8); }

inline std::uint32_t four_bytes(const std::uint8_t* bytes) {
  std::uint32_t lane;
  std::memcpy(&lane, bytes, 4);
  return lane;
}

// Four 7-bit sign indices and a scale: the word of IQ2_XXS and IQ3_XXS.
inline std::uint32_t sign_word(const RowBlock& b, int ib) {
  std::uint32_t word = static_cast<std::uint32_t>(b.scale[ib]) << 28;
  for (int g = 0; g < 4; ++g) word |= static_cast<std::uint32_t>(b.sign[4 * ib + g]) << 7 * g;
  return word;
}
inline void set_sign_word(std::uint32_t word, int ib, RowBlock& b) {
  b.scale[ib] = static_cast<std::uint8_t>(word >> 28);
  for (int g = 0; g < 4; ++g) b.sign[4 * ib + g] = static_cast<std::uint8_t>((word >> 7 * g) & 127);
}

// Nibbles of neighbouring scales.
inline void read_scales(const std::uint8_t* in, int n, std::uint8_t* scale) {
  for (int g = 0; g < n; ++g) scale[g] = (in[g / 2] >> 4 * (g % 2)) & 15;
}
inline void write_scales(const std::uint8_t* scale, int n, std::uint8_t* out) {
  for (int p = 0; p < n / 2; ++p) out[p] = static_cast<std::uint8_t>(scale[2 * p] | scale[2 * p + 1] << 4);
}

}  // namespace dodeca::quant
