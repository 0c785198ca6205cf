// Packed weights as product kernels take them: 32 columns of 4 rows per lane, "a chunk". Lane l of a warp has rows
// 4 (l mod 4) to 4 (l mod 4) + 3 of the tile and chunk l / 4 of eight: every load of codes is 16 bytes, of 4 rows side by
// side, and a warp reads 256 columns in whole sectors. What lies where in a tile stands with the types (quant/formats)
// and in quant/layout/tile.hpp.
//
// A type is a struct:
//   Tile, kSub, kMinima, kOffset   as its Format's
//   Chunk, load(tile, chunk, j)    everything that a lane reads from memory; j: l mod 4
//   units(chunk, r, q)             row r's codes, four columns to a word, as signed bytes (multiply_*.cu adds `shift`)
//   shift(chunk, r)                what every code lacks to be the weight
//   factor(chunk, r), scale(chunk, r, s), min(chunk, r, s), offset(chunk, r)   s: which sub-block of the chunk
#pragma once

#include "gpu/kernels/dialect.hpp"
#include "quant/formats/iq4.hpp"
#include "quant/formats/iq_k.hpp"
#include "quant/formats/k_types.hpp"
#include "quant/formats/legacy.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

inline constexpr std::uint32_t kOnes = 0x01010101u, kThrees = 0x03030303u, kSevens = 0x07070707u,
                               kNibbles = 0x0f0f0f0fu;

// Four rows of one vector of a tile. Codes are read once; scales, of which a line serves several chunks, stay in L1.
struct Words4 {
  std::uint32_t row[4];
};
__device__ inline Words4 codes_at(const std::byte* at) {
  const uint4 v = load_once(reinterpret_cast<const uint4*>(at));
  return {{v.x, v.y, v.z, v.w}};
}
__device__ inline Words4 words_at(const std::byte* at) {
  const uint4 v = __ldg(reinterpret_cast<const uint4*>(at));
  return {{v.x, v.y, v.z, v.w}};
}
// f16 bits of four rows.
struct Halves4 {
  std::uint32_t pair[2];
  __device__ std::uint16_t bits(int r) const { return static_cast<std::uint16_t>(pair[r / 2] >> (16 * (r % 2))); }
};
__device__ inline Halves4 halves_at(const std::byte* at) {
  const uint2 v = __ldg(reinterpret_cast<const uint2*>(at));
  return {{v.x, v.y}};
}

// What most types have alike.
template <class Tile_, int kSub_>
struct Weights {
  using Tile = Tile_;
  static constexpr int kSub = kSub_, kChunks = Tile::kColumns / 32;  // chunks of a block
  static constexpr bool kMinima = false, kOffset = false;
  template <class Chunk>
  __device__ static int shift(const Chunk&, int) {
    return 0;
  }
};

// ---- nibbles: vector i, low nibble: unit 2i, high: 2i + 1

__device__ inline void split_nibbles(const Words4 (&code)[4], int r, std::uint32_t (&q)[8]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    q[2 * i] = code[i].row[r] & kNibbles;
    q[2 * i + 1] = (code[i].row[r] >> 4) & kNibbles;
  }
}

// The same with a plane of fifth bits (tile.hpp).
__device__ inline void join_five_bits(const Words4 (&code)[4], const Words4& plane, int r, std::uint32_t (&q)[8]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    q[2 * i] = (code[i].row[r] & kNibbles) | ((plane.row[r] >> (2 * i + 1)) & kOnes) << 4;
    q[2 * i + 1] = ((code[i].row[r] >> 4) & kNibbles) << 1 | ((plane.row[r] >> (2 * i)) & kOnes);
  }
}

// The same with a table of 16 signed bytes. A nibble is a selector of four bits as it is: the lower three choose in each
// half of the table, the fourth chooses the half.
struct ByteTable {
  std::uint32_t word[4];
};
constexpr ByteTable table_of(const std::int8_t (&values)[16]) {
  ByteTable table{};
  for (int i = 0; i < 16; ++i) table.word[i / 4] |= (static_cast<std::uint32_t>(values[i]) & 255u) << (8 * (i % 4));
  return table;
}
__device__ inline std::uint32_t look_up_four(const ByteTable& table, std::uint32_t nibbles) {
  const std::uint32_t place = nibbles & 0x7777u, half = 0x3210u | (nibbles & 0x8888u) >> 1;
  return __byte_perm(__byte_perm(table.word[0], table.word[1], place), __byte_perm(table.word[2], table.word[3], place),
                     half);
}
__device__ inline void look_up(const ByteTable& table, const Words4 (&code)[4], int r, std::uint32_t (&q)[8]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {  // columns 0, 1 of both units, then 2, 3
    const std::uint32_t low = look_up_four(table, code[i].row[r]), high = look_up_four(table, code[i].row[r] >> 16);
    q[2 * i] = __byte_perm(low, high, 0x6420);
    q[2 * i + 1] = __byte_perm(low, high, 0x7531);
  }
}

// Fields of scales: sub-block 2p + e of a row at bit width * p + 16e.
__device__ inline int field(std::uint32_t lane, int g, int width) {
  return static_cast<int>((lane >> (width * (g / 2) + 16 * (g % 2))) & ((1u << width) - 1));
}

}  // namespace dodeca::gpu::DODECA_KERNELS
