// Between RowBlock and the tiles (tiles.hpp), and the table of block formats.
#include "cpu/kernels/matmul/row_block.hpp"

#include <cstring>
#include <stdexcept>

#include "cpu/kernels/matmul/row_block_parts.hpp"
#include "cpu/kernels/matmul/tiles.hpp"
#include "quant/blocks.hpp"

namespace dodeca::cpu {
namespace {

using quant::DType;

std::uint32_t unit(const RowBlock& block, int u) {
  std::uint32_t codes;
  std::memcpy(&codes, block.code + 4 * u, 4);
  return codes;
}
void set_unit(RowBlock& block, int u, std::uint32_t codes) { std::memcpy(block.code + 4 * u, &codes, 4); }

constexpr std::uint32_t kOnes = 0x01010101u, kThrees = 0x03030303u, kSevens = 0x07070707u, kNibbles = 0x0f0f0f0fu;

void codes4_to_tile(const RowBlock& b, int r, int n_units, std::byte* codes) {
  for (int i = 0; i < n_units / 2; ++i) put(codes, i, r, unit(b, 2 * i) | unit(b, 2 * i + 1) << 4);
}
void codes4_from_tile(const std::byte* codes, int r, int n_units, RowBlock& b) {
  for (int i = 0; i < n_units / 2; ++i) {
    const std::uint32_t lane = get(codes, i, r);
    set_unit(b, 2 * i, lane & kNibbles);
    set_unit(b, 2 * i + 1, (lane >> 4) & kNibbles);
  }
}

// Units 8k to 8k + 7. Odd units keep their top four bits in the nibble and the lowest in the plane, even units the other
// way round.
void codes5_to_tile(const RowBlock& b, int r, int k, std::byte* high, std::byte* codes) {
  std::uint32_t plane = 0;
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t even = unit(b, 8 * k + 2 * i), odd = unit(b, 8 * k + 2 * i + 1);
    put(codes, i, r, (even & kNibbles) | ((odd >> 1) & kNibbles) << 4);
    plane |= (odd & kOnes) << 2 * i | ((even >> 4) & kOnes) << (2 * i + 1);
  }
  put(high, 0, r, plane);
}
void codes5_from_tile(const std::byte* high, const std::byte* codes, int r, int k, RowBlock& b) {
  const std::uint32_t plane = get(high, 0, r);
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t lane = get(codes, i, r);
    set_unit(b, 8 * k + 2 * i, (lane & kNibbles) | ((plane >> (2 * i + 1)) & kOnes) << 4);
    set_unit(b, 8 * k + 2 * i + 1, ((lane >> 4) & kNibbles) << 1 | ((plane >> 2 * i) & kOnes));
  }
}

// Byte of sub-block 4s + i in scale vector s.
constexpr int kBytePlace[4] = {0, 2, 1, 3};
template <class Tile>
void scales8_to_tile(const std::uint8_t* scale, int r, std::byte* body) {
  for (int g = 0; g < 16; ++g) body[Tile::scales(g / 4) + 4 * r + kBytePlace[g % 4]] = std::byte{scale[g]};
}
template <class Tile>
void scales8_from_tile(const std::byte* body, int r, std::uint8_t* scale) {
  for (int g = 0; g < 16; ++g)
    scale[g] = static_cast<std::uint8_t>(body[Tile::scales(g / 4) + 4 * r + kBytePlace[g % 4]]);
}

template <class Tile>
void scales6_to_tile(const RowBlock& b, int r, std::byte* body) {
  put(body + Tile::kScales, 0, r, fields(b.scale, 8, 0, 4));
  put(body + Tile::kMins, 0, r, fields(b.min, 8, 0, 4));
  put(body + Tile::kHighScales, 0, r, fields(b.scale, 8, 4, 2) | fields(b.min, 8, 4, 2) << 8);
}
template <class Tile>
void scales6_from_tile(const std::byte* body, int r, RowBlock& b) {
  const std::uint32_t scale = get(body + Tile::kScales, 0, r), min = get(body + Tile::kMins, 0, r);
  const std::uint32_t high = get(body + Tile::kHighScales, 0, r);
  for (int g = 0; g < 8; ++g) {
    b.scale[g] = static_cast<std::uint8_t>(field(scale, g, 4) | field(high, g, 2) << 4);
    b.min[g] = static_cast<std::uint8_t>(field(min, g, 4) | field(high >> 8, g, 2) << 4);
  }
}

// d, and m where the header holds 4 bytes per row.
template <class Tile>
void factors_to_tile(const RowBlock& b, int r, std::byte* header) {
  std::memcpy(header + 2 * r, &b.d, 2);
  if constexpr (Tile::kGroup == 1) std::memcpy(header + 32 + 2 * r, &b.m, 2);
}
template <class Tile>
void factors_from_tile(const std::byte* header, int r, RowBlock& b) {
  std::memcpy(&b.d, header + 2 * r, 2);
  if constexpr (Tile::kGroup == 1) {
    std::memcpy(&b.m, header + 32 + 2 * r, 2);
  } else {
    b.m = 0;
  }
}

struct Q2_K : TileQ2_K {
  using Tile = TileQ2_K;
  static constexpr DType kType = DType::kQ2_K;
  static constexpr int kFileBytes = sizeof(quant::BlockQ2_K);
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    for (int g = 0; g < 16; ++g) {
      std::uint32_t lane = 0;
      for (int j = 0; j < 4; ++j) lane |= (unit(b, 4 * g + j) & kThrees) << 2 * j;
      put(body + codes(g), 0, r, lane);
    }
    std::uint8_t both[16];
    for (int g = 0; g < 16; ++g) both[g] = static_cast<std::uint8_t>(b.scale[g] | b.min[g] << 4);
    scales8_to_tile<Tile>(both, r, body);
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int g = 0; g < 16; ++g) {
      const std::uint32_t lane = get(body + codes(g), 0, r);
      for (int j = 0; j < 4; ++j) set_unit(b, 4 * g + j, (lane >> 2 * j) & kThrees);
    }
    scales8_from_tile<Tile>(body, r, b.scale);
    for (int g = 0; g < 16; ++g) {
      b.min[g] = b.scale[g] >> 4;
      b.scale[g] &= 15;
    }
  }
};

struct Q3_K : TileQ3_K {
  static constexpr DType kType = DType::kQ3_K;
  static constexpr int kFileBytes = sizeof(quant::BlockQ3_K);
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    for (int p = 0; p < 8; ++p) {
      const std::uint32_t u6 = unit(b, 8 * p + 6), u7 = unit(b, 8 * p + 7);
      const std::uint32_t rest[3] = {u6 & kThrees, u7 & kThrees, (u6 >> 2 & kOnes) | (u7 >> 2 & kOnes) << 1};
      for (int v = 0; v < 3; ++v) {
        put(body + codes(p), v, r, unit(b, 8 * p + 2 * v) | unit(b, 8 * p + 2 * v + 1) << 3 | rest[v] << 6);
      }
    }
    put(body + kScales, 0, r, fields(b.scale, 8, 0, 4));
    put(body + kScales, 1, r, fields(b.scale + 8, 8, 0, 4));
    put(body + kHighScales, 0, r, fields(b.scale, 16, 4, 2));
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int p = 0; p < 8; ++p) {
      std::uint32_t rest[3];
      for (int v = 0; v < 3; ++v) {
        const std::uint32_t lane = get(body + codes(p), v, r);
        set_unit(b, 8 * p + 2 * v, lane & kSevens);
        set_unit(b, 8 * p + 2 * v + 1, lane >> 3 & kSevens);
        rest[v] = lane >> 6 & kThrees;
      }
      set_unit(b, 8 * p + 6, rest[0] | (rest[2] & kOnes) << 2);
      set_unit(b, 8 * p + 7, rest[1] | (rest[2] >> 1 & kOnes) << 2);
    }
    const std::uint32_t high = get(body + kHighScales, 0, r);
    for (int g = 0; g < 16; ++g) {
      const std::uint8_t low = field(get(body + kScales, g / 8, r), g % 8, 4);
      b.scale[g] = static_cast<std::uint8_t>(low | field(high, g, 2) << 4);
    }
  }
};

struct Q4_K : TileQ4_K {
  static constexpr DType kType = DType::kQ4_K;
  static constexpr int kFileBytes = sizeof(quant::BlockQ4_K);
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    codes4_to_tile(b, r, 64, body + kCodes);
    scales6_to_tile<Q4_K>(b, r, body);
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    codes4_from_tile(body + kCodes, r, 64, b);
    scales6_from_tile<Q4_K>(body, r, b);
  }
};

struct Q5_K : TileQ5_K {
  static constexpr DType kType = DType::kQ5_K;
  static constexpr int kFileBytes = sizeof(quant::BlockQ5_K);
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    for (int k = 0; k < 8; ++k) codes5_to_tile(b, r, k, body + high_bits(k), body + codes(4 * k));
    scales6_to_tile<Q5_K>(b, r, body);
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int k = 0; k < 8; ++k) codes5_from_tile(body + high_bits(k), body + codes(4 * k), r, k, b);
    scales6_from_tile<Q5_K>(body, r, b);
  }
};

struct Q6_K : TileQ6_K {
  using Tile = TileQ6_K;
  static constexpr DType kType = DType::kQ6_K;
  static constexpr int kFileBytes = sizeof(quant::BlockQ6_K);
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    for (int g = 0; g < 16; ++g) {
      std::uint32_t plane = 0;
      for (int i = 0; i < 2; ++i) {
        const std::uint32_t even = unit(b, 4 * g + 2 * i), odd = unit(b, 4 * g + 2 * i + 1);
        put(body + codes(2 * g + i), 0, r, (even & kNibbles) | ((odd >> 2) & kNibbles) << 4);
        plane |= ((even >> 4) & kThrees) << 4 * i | (odd & kThrees) << (4 * i + 2);
      }
      put(body + high_bits(g), 0, r, plane);
    }
    scales8_to_tile<Tile>(b.scale, r, body);
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int g = 0; g < 16; ++g) {
      const std::uint32_t plane = get(body + high_bits(g), 0, r);
      for (int i = 0; i < 2; ++i) {
        const std::uint32_t lane = get(body + codes(2 * g + i), 0, r);
        set_unit(b, 4 * g + 2 * i, (lane & kNibbles) | ((plane >> 4 * i) & kThrees) << 4);
        set_unit(b, 4 * g + 2 * i + 1, ((lane >> 4) & kNibbles) << 2 | ((plane >> (4 * i + 2)) & kThrees));
      }
    }
    scales8_from_tile<Tile>(body, r, b.scale);
  }
};

struct IQ4_XS : TileIQ4_XS {
  static constexpr DType kType = DType::kIQ4_XS;
  static constexpr int kFileBytes = sizeof(quant::BlockIQ4_XS);
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    codes4_to_tile(b, r, 64, body + kCodes);
    put(body + kScales, 0, r, fields(b.scale, 8, 0, 4));
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    codes4_from_tile(body + kCodes, r, 64, b);
    const std::uint32_t low = get(body + kScales, 0, r);
    for (int g = 0; g < 8; ++g) b.scale[g] = static_cast<std::uint8_t>(field(low, g, 4) | ((b.m >> 2 * g) & 3) << 4);
  }
};

template <class Tile>
struct Nibbles32 : Tile {
  static void put_row(const RowBlock& b, int r, std::byte* body) { codes4_to_tile(b, r, 8, body + Tile::kCodes); }
  static void get_row(const std::byte* body, int r, RowBlock& b) { codes4_from_tile(body + Tile::kCodes, r, 8, b); }
};
struct Q4_0 : Nibbles32<TileQ4_0> {
  static constexpr DType kType = DType::kQ4_0;
  static constexpr int kFileBytes = sizeof(quant::BlockQ4_0);
};
struct Q4_1 : Nibbles32<TileQ4_1> {
  static constexpr DType kType = DType::kQ4_1;
  static constexpr int kFileBytes = sizeof(quant::BlockQ4_1);
};
struct IQ4_NL : Nibbles32<TileIQ4_NL> {
  static constexpr DType kType = DType::kIQ4_NL;
  static constexpr int kFileBytes = sizeof(quant::BlockIQ4_NL);
};
struct MXFP4 : Nibbles32<TileMXFP4> {
  static constexpr DType kType = DType::kMXFP4;
  static constexpr int kFileBytes = sizeof(quant::BlockMXFP4);
};

template <class Tile>
struct Fives32 : Tile {
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    codes5_to_tile(b, r, 0, body + Tile::kHighBits, body + Tile::kCodes);
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    codes5_from_tile(body + Tile::kHighBits, body + Tile::kCodes, r, 0, b);
  }
};
struct Q5_0 : Fives32<TileQ5_0> {
  static constexpr DType kType = DType::kQ5_0;
  static constexpr int kFileBytes = sizeof(quant::BlockQ5_0);
};
struct Q5_1 : Fives32<TileQ5_1> {
  static constexpr DType kType = DType::kQ5_1;
  static constexpr int kFileBytes = sizeof(quant::BlockQ5_1);
};

struct Q8_0 : TileQ8_0 {
  static constexpr DType kType = DType::kQ8_0;
  static constexpr int kFileBytes = sizeof(quant::BlockQ8_0);
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    for (int u = 0; u < 8; ++u) put(body, u, r, unit(b, u) ^ 0x80808080u);
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int u = 0; u < 8; ++u) set_unit(b, u, get(body, u, r) ^ 0x80808080u);
  }
};

template <class Format>
void to_tile(const RowBlock* blocks, std::byte* header, std::byte* body) {
  for (int r = 0; r < kTileRows; ++r) {
    if constexpr (Format::kGroup == 4) {
      header[r] = static_cast<std::byte>(blocks[r].d);
    } else {
      factors_to_tile<Format>(blocks[r], r, header);
    }
    Format::put_row(blocks[r], r, body);
  }
}
template <class Format>
void from_tile(const std::byte* header, const std::byte* body, RowBlock* blocks) {
  for (int r = 0; r < kTileRows; ++r) {
    if constexpr (Format::kGroup == 4) {
      blocks[r].d = static_cast<std::uint8_t>(header[r]);
      blocks[r].m = 0;
    } else {
      factors_from_tile<Format>(header, r, blocks[r]);
    }
    Format::get_row(body, r, blocks[r]);
  }
}

template <class F>
constexpr BlockFormat format_of() {
  return {F::kType, F::kColumns,         F::kFileBytes,     F::bytes,     F::header,
          F::body,  from_file<F::kType>, to_file<F::kType>, from_tile<F>, to_tile<F>};
}
constexpr BlockFormat kFormats[] = {format_of<Q2_K>(), format_of<Q3_K>(),   format_of<Q4_K>(), format_of<Q5_K>(),
                                    format_of<Q6_K>(), format_of<IQ4_XS>(), format_of<Q4_0>(), format_of<Q4_1>(),
                                    format_of<Q5_0>(), format_of<Q5_1>(),   format_of<Q8_0>(), format_of<IQ4_NL>(),
                                    format_of<MXFP4>()};

}  // namespace

const BlockFormat& block_format(DType dtype) {
  for (const BlockFormat& format : kFormats) {
    if (format.dtype == dtype) return format;
  }
  for (const BlockFormat& format : lattice_formats()) {
    if (format.dtype == dtype) return format;
  }
  throw std::invalid_argument("no block format for this type");
}

}  // namespace dodeca::cpu
