// Types of blocks of 32 columns: a chunk is a block.
#pragma once

#include "gpu/kernels/weights.cuh"

namespace dodeca::gpu::DODECA_KERNELS {

struct NibbleChunk {
  Words4 code[4];
  Halves4 d, m;  // m: of types with an offset
};

// Tile::header holds f16 d, and f16 m of types with an offset.
template <class Tile, int kCodes>
__device__ inline NibbleChunk load_nibbles(const std::byte* tile, std::int32_t chunk, int j, bool with_offset) {
  NibbleChunk c;
  const std::byte *header = tile + Tile::header(chunk) + 8 * j, *codes = tile + Tile::body(chunk) + kCodes + 16 * j;
#pragma unroll
  for (int i = 0; i < 4; ++i) c.code[i] = codes_at(codes + 64 * i);
  c.d = halves_at(header);
  if (with_offset) c.m = halves_at(header + 32);
  return c;
}

template <class Tile>
struct SmallWeights : Weights<Tile, 32> {
  template <class Chunk>
  __device__ static float factor(const Chunk& c, int r) {
    return f16_to_f32(c.d.bits(r));
  }
  template <class Chunk>
  __device__ static int scale(const Chunk&, int, int) {
    return 1;
  }
  template <class Chunk>
  __device__ static float offset(const Chunk& c, int r) {
    return f16_to_f32(c.m.bits(r));
  }
};

struct WeightsQ4_0 : SmallWeights<quant::TileQ4_0> {
  using Chunk = NibbleChunk;
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    return load_nibbles<Tile, Tile::kCodes>(tile, chunk, j, false);
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) { split_nibbles(c.code, r, q); }
  __device__ static int shift(const Chunk&, int) { return -8; }
};

struct WeightsQ4_1 : SmallWeights<quant::TileQ4_1> {
  static constexpr bool kOffset = true;
  using Chunk = NibbleChunk;
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    return load_nibbles<Tile, Tile::kCodes>(tile, chunk, j, true);
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) { split_nibbles(c.code, r, q); }
};

struct FiveBitChunk : NibbleChunk {
  Words4 plane;
};

struct WeightsQ5_0 : SmallWeights<quant::TileQ5_0> {
  using Chunk = FiveBitChunk;
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    return {load_nibbles<Tile, Tile::kCodes>(tile, chunk, j, false),
            codes_at(tile + Tile::body(chunk) + Tile::kHighBits + 16 * j)};
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) { join_five_bits(c.code, c.plane, r, q); }
  __device__ static int shift(const Chunk&, int) { return -16; }
};

struct WeightsQ5_1 : SmallWeights<quant::TileQ5_1> {
  static constexpr bool kOffset = true;
  using Chunk = FiveBitChunk;
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    return {load_nibbles<Tile, Tile::kCodes>(tile, chunk, j, true),
            codes_at(tile + Tile::body(chunk) + Tile::kHighBits + 16 * j)};
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) { join_five_bits(c.code, c.plane, r, q); }
};

struct WeightsQ8_0 : SmallWeights<quant::TileQ8_0> {
  struct Chunk {
    Words4 code[8];
    Halves4 d, m;
  };
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    Chunk c;
    const std::byte* const codes = tile + Tile::body(chunk) + Tile::kCodes + 16 * j;
#pragma unroll
    for (int u = 0; u < 8; ++u) c.code[u] = codes_at(codes + 64 * u);
    c.d = halves_at(tile + Tile::header(chunk) + 8 * j);
    return c;
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) {
#pragma unroll
    for (int u = 0; u < 8; ++u) q[u] = c.code[u].row[r] ^ 0x80808080u;  // code + 128
  }
};

struct WeightsIQ4_NL : SmallWeights<quant::TileIQ4_NL> {
  using Chunk = NibbleChunk;
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    return load_nibbles<Tile, Tile::kCodes>(tile, chunk, j, false);
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) {
    constexpr ByteTable kTable = table_of(quant::kIq4Values);
    look_up(kTable, c.code, r, q);
  }
};

struct WeightsMXFP4 : SmallWeights<quant::TileMXFP4> {
  struct Chunk {
    Words4 code[4];
    Halves4 m;
    std::uint32_t exponents;  // of the four rows
  };
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    Chunk c;
    const std::byte* const codes = tile + Tile::body(chunk) + Tile::kCodes + 16 * j;
#pragma unroll
    for (int i = 0; i < 4; ++i) c.code[i] = codes_at(codes + 64 * i);
    c.exponents = __ldg(reinterpret_cast<const std::uint32_t*>(tile + Tile::header(chunk) + 4 * j));
    return c;
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) {
    constexpr ByteTable kTable = table_of(quant::kDoubledE2M1);
    look_up(kTable, c.code, r, q);
  }
  // quant::e8m0_half_to_f32.
  __device__ static float factor(const Chunk& c, int r) {
    const std::uint32_t e = c.exponents >> (8 * r) & 255u;
    return __uint_as_float(e == 255u ? 0x7fc00000u : e < 2 ? 0x00200000u << e : (e - 1) << 23);
  }
};

}  // namespace dodeca::gpu::DODECA_KERNELS
