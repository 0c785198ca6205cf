// Types of blocks of 256 columns: eight chunks to a block.
#pragma once

#include "gpu/kernels/weights.cuh"

namespace dodeca::gpu::DODECA_KERNELS {

// Where a chunk lies: the header and body of its block, from the lane's rows on, and which of the eight it is.
struct Place {
  const std::byte *header, *body;  // header: of factors of two bytes
  int sub;
};
template <class Tile>
__device__ inline Place place_of(const std::byte* tile, std::int32_t chunk, int j) {
  return {tile + Tile::header(chunk / 8) + 8 * j, tile + Tile::body(chunk / 8) + 16 * j, chunk % 8};
}

template <class Tile, int kSub>
struct SuperWeights : Weights<Tile, kSub> {
  template <class Chunk>
  __device__ static float factor(const Chunk& c, int r) {
    return f16_to_f32(c.d.bits(r));
  }
  template <class Chunk>
  __device__ static float offset(const Chunk& c, int r) {
    return f16_to_f32(c.m.bits(r));
  }
};

// ---- Q4_K, Q5_K: sub-blocks of 32 with scales and minima of six bits

struct SixBitScales {
  Words4 scale, min, high;
  int sub;
  __device__ int scale_of(int r) const { return field(scale.row[r], sub, 4) | field(high.row[r], sub, 2) << 4; }
  __device__ int min_of(int r) const { return field(min.row[r], sub, 4) | field(high.row[r] >> 8, sub, 2) << 4; }
};
template <class Tile>
__device__ inline SixBitScales six_bit_scales(const Place& at) {
  return {words_at(at.body + Tile::kScales), words_at(at.body + Tile::kMins), words_at(at.body + Tile::kHighScales),
          at.sub};
}

struct WeightsQ4_K : SuperWeights<quant::TileQ4_K, 32> {
  static constexpr bool kMinima = true;
  struct Chunk {
    Words4 code[4];
    SixBitScales scales;
    Halves4 d, m;
  };
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    const Place at = place_of<Tile>(tile, chunk, j);
    Chunk c;
#pragma unroll
    for (int i = 0; i < 4; ++i) c.code[i] = codes_at(at.body + Tile::kCodes + 64 * (4 * at.sub + i));
    c.scales = six_bit_scales<Tile>(at);
    c.d = halves_at(at.header);
    c.m = halves_at(at.header + 32);
    return c;
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) { split_nibbles(c.code, r, q); }
  __device__ static int scale(const Chunk& c, int r, int) { return c.scales.scale_of(r); }
  __device__ static int min(const Chunk& c, int r, int) { return c.scales.min_of(r); }
};

struct WeightsQ5_K : SuperWeights<quant::TileQ5_K, 32> {
  static constexpr bool kMinima = true;
  struct Chunk {
    Words4 code[4], plane;
    SixBitScales scales;
    Halves4 d, m;
  };
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    const Place at = place_of<Tile>(tile, chunk, j);
    Chunk c;
    c.plane = codes_at(at.body + Tile::high_bits(at.sub));
#pragma unroll
    for (int i = 0; i < 4; ++i) c.code[i] = codes_at(at.body + Tile::codes(4 * at.sub) + 64 * i);
    c.scales = six_bit_scales<Tile>(at);
    c.d = halves_at(at.header);
    c.m = halves_at(at.header + 32);
    return c;
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) { join_five_bits(c.code, c.plane, r, q); }
  __device__ static int scale(const Chunk& c, int r, int) { return c.scales.scale_of(r); }
  __device__ static int min(const Chunk& c, int r, int) { return c.scales.min_of(r); }
};

// ---- Q2_K, Q3_K, Q6_K: sub-blocks of 16, two to a chunk

// Bytes 0, 2, 1, 3 of a vector are sub-blocks 4s to 4s + 3: of the chunk's two, byte (sub mod 2) and the one two further.
__device__ inline std::uint32_t scale_byte(std::uint32_t lane, int sub, int s) {
  return lane >> (8 * (sub % 2) + 16 * s) & 255u;
}

struct WeightsQ2_K : SuperWeights<quant::TileQ2_K, 16> {
  static constexpr bool kMinima = true;
  struct Chunk {
    Words4 code[2], scales;
    Halves4 d, m;
    int sub;
  };
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    const Place at = place_of<Tile>(tile, chunk, j);
    const std::byte* const codes = at.body + Tile::codes(2 * at.sub);
    return {{codes_at(codes), codes_at(codes + 64)},
            words_at(at.body + Tile::scales(at.sub / 2)),
            halves_at(at.header),
            halves_at(at.header + 32),
            at.sub};
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) {
#pragma unroll
    for (int u = 0; u < 8; ++u) q[u] = (c.code[u / 4].row[r] >> (2 * (u % 4))) & kThrees;
  }
  __device__ static int scale(const Chunk& c, int r, int s) {
    return static_cast<int>(scale_byte(c.scales.row[r], c.sub, s) & 15u);
  }
  __device__ static int min(const Chunk& c, int r, int s) {
    return static_cast<int>(scale_byte(c.scales.row[r], c.sub, s) >> 4);
  }
};

struct WeightsQ3_K : SuperWeights<quant::TileQ3_K, 16> {
  struct Chunk {
    Words4 code[3], low, high;
    Halves4 d, m;
    int sub;
  };
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    const Place at = place_of<Tile>(tile, chunk, j);
    Chunk c;
#pragma unroll
    for (int v = 0; v < 3; ++v) c.code[v] = codes_at(at.body + Tile::codes(at.sub) + 64 * v);
    c.low = words_at(at.body + Tile::kScales + 64 * (at.sub / 4));
    c.high = words_at(at.body + Tile::kHighScales);
    c.d = halves_at(at.header);
    c.sub = at.sub;
    return c;
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) {
    const std::uint32_t v0 = c.code[0].row[r], v1 = c.code[1].row[r], v2 = c.code[2].row[r];
    q[0] = v0 & kSevens;
    q[1] = v0 >> 3 & kSevens;
    q[2] = v1 & kSevens;
    q[3] = v1 >> 3 & kSevens;
    q[4] = v2 & kSevens;
    q[5] = v2 >> 3 & kSevens;
    q[6] = (v0 >> 6 & kThrees) | (v2 >> 6 & kOnes) << 2;
    q[7] = (v1 >> 6 & kThrees) | (v2 >> 7 & kOnes) << 2;
  }
  __device__ static int shift(const Chunk&, int) { return -4; }
  __device__ static int scale(const Chunk& c, int r, int s) {
    return (field(c.low.row[r], 2 * (c.sub % 4) + s, 4) | field(c.high.row[r], 2 * c.sub + s, 2) << 4) - 32;
  }
};

struct WeightsQ6_K : SuperWeights<quant::TileQ6_K, 16> {
  struct Chunk {
    Words4 plane[2], code[4], scales;
    Halves4 d, m;
    int sub;
  };
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    const Place at = place_of<Tile>(tile, chunk, j);
    const std::byte* const first = at.body + Tile::high_bits(2 * at.sub);  // plane, two of codes, plane, two of codes
    return {{codes_at(first), codes_at(first + 192)},
            {codes_at(first + 64), codes_at(first + 128), codes_at(first + 256), codes_at(first + 320)},
            words_at(at.body + Tile::scales(at.sub / 2)),
            halves_at(at.header),
            {},
            at.sub};
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) {
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const std::uint32_t code = c.code[v].row[r], plane = c.plane[v / 2].row[r] >> (4 * (v % 2));
      q[2 * v] = (code & kNibbles) | (plane & kThrees) << 4;
      q[2 * v + 1] = ((code >> 4) & kNibbles) << 2 | ((plane >> 2) & kThrees);
    }
  }
  __device__ static int shift(const Chunk&, int) { return -32; }
  __device__ static int scale(const Chunk& c, int r, int s) {
    return static_cast<std::int8_t>(scale_byte(c.scales.row[r], c.sub, s));
  }
};

// ---- IQ4_XS, IQ4_KS: a table, sub-blocks of 32

struct WeightsIQ4_XS : SuperWeights<quant::TileIQ4_XS, 32> {
  struct Chunk {
    Words4 code[4], low;
    Halves4 d, m;  // m: the high bits of the scales
    int sub;
  };
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    const Place at = place_of<Tile>(tile, chunk, j);
    Chunk c;
#pragma unroll
    for (int i = 0; i < 4; ++i) c.code[i] = codes_at(at.body + Tile::codes(at.sub) + 64 * i);
    c.low = words_at(at.body + Tile::kScales);
    c.d = halves_at(at.header);
    c.m = halves_at(at.header + 32);
    c.sub = at.sub;
    return c;
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) {
    constexpr ByteTable kTable = table_of(quant::kIq4Values);
    look_up(kTable, c.code, r, q);
  }
  __device__ static int scale(const Chunk& c, int r, int) {
    return (field(c.low.row[r], c.sub, 4) | (c.m.bits(r) >> (2 * c.sub) & 3) << 4) - 32;
  }
};

struct WeightsIQ4_KS : SuperWeights<quant::TileIQ4_KS, 32> {
  struct Chunk {
    Words4 code[4], scales;
    Words4 d;  // float bits of the row's scale
    Halves4 m;
    int sub;
  };
  __device__ static Chunk load(const std::byte* tile, std::int32_t chunk, int j) {
    const Place at = place_of<Tile>(tile, chunk, j);
    Chunk c;
#pragma unroll
    for (int i = 0; i < 4; ++i) c.code[i] = codes_at(at.body + Tile::codes(at.sub) + 64 * i);
    c.scales = words_at(at.body + Tile::scales(at.sub / 4));
    c.d = words_at(tile + 16 * j);
    c.sub = at.sub;
    return c;
  }
  __device__ static void units(const Chunk& c, int r, std::uint32_t (&q)[8]) {
    constexpr ByteTable kTable = table_of(quant::kIq4Values);
    look_up(kTable, c.code, r, q);
  }
  // Bytes 0, 2, 1, 3 of a vector are sub-blocks 4s to 4s + 3.
  __device__ static int stored(const Chunk& c, int r) {
    return static_cast<int>(c.scales.row[r] >> (8 * (c.sub % 4 / 2) + 16 * (c.sub % 2)) & 255u);
  }
  __device__ static int shift(const Chunk& c, int r) { return (stored(c, r) & 1) * quant::kIq4Shift; }
  __device__ static int scale(const Chunk& c, int r, int) { return (stored(c, r) & 254) - 127; }
  __device__ static float factor(const Chunk& c, int r) { return __uint_as_float(c.d.row[r]); }
};

}  // namespace dodeca::gpu::DODECA_KERNELS
