// The lattice types between the file's blocks, RowBlock and the tiles. Bit positions: quant/formats and tiles.hpp.
#include <cstring>

#include "cpu/kernels/matmul/iq_tables.hpp"
#include "cpu/kernels/matmul/row_block_parts.hpp"
#include "cpu/kernels/matmul/tiles.hpp"
#include "quant/blocks.hpp"

namespace dodeca::cpu {
namespace {

using quant::DType;

std::uint8_t byte_of(std::uint32_t lane, int i) { return static_cast<std::uint8_t>(lane >> 8 * i); }
std::uint16_t half_of(std::uint32_t lane, int i) { return static_cast<std::uint16_t>(lane >> 16 * i); }

// The low bytes of four indices.
std::uint32_t low_bytes(const std::uint16_t* index) {
  std::uint32_t lane = 0;
  for (int i = 0; i < 4; ++i) lane |= static_cast<std::uint32_t>(index[i] & 255) << 8 * i;
  return lane;
}
void set_low_bytes(std::uint32_t lane, std::uint16_t* index) {
  for (int i = 0; i < 4; ++i) index[i] = byte_of(lane, i);
}
void or_high(std::uint16_t& index, std::uint32_t bits) { index = static_cast<std::uint16_t>(index | bits << 8); }

std::uint32_t four_bytes(const std::uint8_t* bytes) {
  std::uint32_t lane;
  std::memcpy(&lane, bytes, 4);
  return lane;
}

// Four 7-bit sign indices and a scale: the word of IQ2_XXS and IQ3_XXS.
std::uint32_t sign_word(const RowBlock& b, int ib) {
  std::uint32_t word = static_cast<std::uint32_t>(b.scale[ib]) << 28;
  for (int g = 0; g < 4; ++g) word |= static_cast<std::uint32_t>(b.sign[4 * ib + g]) << 7 * g;
  return word;
}
void set_sign_word(std::uint32_t word, int ib, RowBlock& b) {
  b.scale[ib] = static_cast<std::uint8_t>(word >> 28);
  for (int g = 0; g < 4; ++g) b.sign[4 * ib + g] = static_cast<std::uint8_t>((word >> 7 * g) & 127);
}

// Nibbles of neighbouring scales.
void read_scales(const std::uint8_t* in, int n, std::uint8_t* scale) {
  for (int g = 0; g < n; ++g) scale[g] = (in[g / 2] >> 4 * (g % 2)) & 15;
}
void write_scales(const std::uint8_t* scale, int n, std::uint8_t* out) {
  for (int p = 0; p < n / 2; ++p) out[p] = static_cast<std::uint8_t>(scale[2 * p] | scale[2 * p + 1] << 4);
}

// Every type: the file's block, read and write; one row of the tile's body, put and get. get sets only what it finds.

struct IQ2_XXS : TileIQ2_XXS {
  static constexpr DType kType = DType::kIQ2_XXS;
  using Block = quant::BlockIQ2_XXS;
  static void read(const Block& in, RowBlock& b) {
    for (int ib = 0; ib < 8; ++ib) {
      const std::uint16_t* q = in.qs + 4 * ib;
      set_low_bytes(q[0] | static_cast<std::uint32_t>(q[1]) << 16, b.index + 4 * ib);
      set_sign_word(q[2] | static_cast<std::uint32_t>(q[3]) << 16, ib, b);
    }
    b.d = in.d;
  }
  static void write(const RowBlock& b, Block& out) {
    for (int ib = 0; ib < 8; ++ib) {
      const std::uint32_t points = low_bytes(b.index + 4 * ib), signs = sign_word(b, ib);
      for (int e = 0; e < 2; ++e) {
        out.qs[4 * ib + e] = half_of(points, e);
        out.qs[4 * ib + 2 + e] = half_of(signs, e);
      }
    }
    out.d = b.d;
  }
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    for (int ib = 0; ib < 8; ++ib) {
      put(body, 2 * ib, r, low_bytes(b.index + 4 * ib));
      put(body, 2 * ib + 1, r, sign_word(b, ib));
    }
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int ib = 0; ib < 8; ++ib) {
      set_low_bytes(get(body, 2 * ib, r), b.index + 4 * ib);
      set_sign_word(get(body, 2 * ib + 1, r), ib, b);
    }
  }
};

struct IQ2_XS : TileIQ2_XS {
  static constexpr DType kType = DType::kIQ2_XS;
  using Block = quant::BlockIQ2_XS;
  static void read(const Block& in, RowBlock& b) {
    for (int t = 0; t < 32; ++t) {
      b.index[t] = in.qs[t] & 511;
      b.sign[t] = static_cast<std::uint8_t>(in.qs[t] >> 9);
    }
    read_scales(in.scales, 16, b.scale);
    b.d = in.d;
  }
  static void write(const RowBlock& b, Block& out) {
    for (int t = 0; t < 32; ++t) out.qs[t] = static_cast<std::uint16_t>(b.index[t] | b.sign[t] << 9);
    write_scales(b.scale, 16, out.scales);
    out.d = b.d;
  }
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    for (int ib = 0; ib < 8; ++ib) {
      std::uint32_t high = 0;
      for (int g = 0; g < 4; ++g) {
        const int t = 4 * ib + g;
        high |= static_cast<std::uint32_t>(b.index[t] >> 8 | b.sign[t] << 1) << 8 * g;
      }
      put(body, 2 * ib, r, low_bytes(b.index + 4 * ib));
      put(body, 2 * ib + 1, r, high);
    }
    for (int v = 0; v < 2; ++v) put(body + kScales, v, r, fields(b.scale + 8 * v, 8, 0, 4));
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int ib = 0; ib < 8; ++ib) {
      const std::uint32_t high = get(body, 2 * ib + 1, r);
      set_low_bytes(get(body, 2 * ib, r), b.index + 4 * ib);
      for (int g = 0; g < 4; ++g) {
        const int t = 4 * ib + g;
        or_high(b.index[t], byte_of(high, g) & 1u);
        b.sign[t] = byte_of(high, g) >> 1;
      }
    }
    for (int g = 0; g < 16; ++g) b.scale[g] = field(get(body + kScales, g / 8, r), g % 8, 4);
  }
};

struct IQ2_S : TileIQ2_S {
  static constexpr DType kType = DType::kIQ2_S;
  using Block = quant::BlockIQ2_S;
  static void read(const Block& in, RowBlock& b) {
    for (int t = 0; t < 32; ++t) {
      b.index[t] = in.qs[t];
      or_high(b.index[t], (in.qh[t / 4] >> 2 * (t % 4)) & 3u);
    }
    std::memcpy(b.sign, in.signs, 32);
    read_scales(in.scales, 16, b.scale);
    b.d = in.d;
  }
  static void write(const RowBlock& b, Block& out) {
    for (int t = 0; t < 32; ++t) {
      out.qs[t] = static_cast<std::uint8_t>(b.index[t]);
      out.qh[t / 4] = static_cast<std::uint8_t>(out.qh[t / 4] | (b.index[t] >> 8) << 2 * (t % 4));
    }
    std::memcpy(out.signs, b.sign, 32);
    write_scales(b.scale, 16, out.scales);
    out.d = b.d;
  }
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    std::uint32_t high[2] = {};
    for (int t = 0; t < 32; ++t) {
      high[t / 16] |= static_cast<std::uint32_t>(b.index[t] >> 8) << (8 * (t % 4) + 2 * (t / 4 % 4));
    }
    for (int ib = 0; ib < 8; ++ib) {
      put(body, 2 * ib, r, low_bytes(b.index + 4 * ib));
      put(body, 2 * ib + 1, r, four_bytes(b.sign + 4 * ib));
    }
    for (int v = 0; v < 2; ++v) {
      put(body + kHighBits, v, r, high[v]);
      put(body + kScales, v, r, fields(b.scale + 8 * v, 8, 0, 4));
    }
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int ib = 0; ib < 8; ++ib) {
      const std::uint32_t signs = get(body, 2 * ib + 1, r), high = get(body + kHighBits, ib / 4, r);
      set_low_bytes(get(body, 2 * ib, r), b.index + 4 * ib);
      for (int g = 0; g < 4; ++g) {
        b.sign[4 * ib + g] = byte_of(signs, g);
        or_high(b.index[4 * ib + g], (high >> (8 * g + 2 * (ib % 4))) & 3u);
      }
    }
    for (int g = 0; g < 16; ++g) b.scale[g] = field(get(body + kScales, g / 8, r), g % 8, 4);
  }
};

struct IQ3_XXS : TileIQ3_XXS {
  static constexpr DType kType = DType::kIQ3_XXS;
  using Block = quant::BlockIQ3_XXS;
  static void read(const Block& in, RowBlock& b) {
    for (int k = 0; k < 64; ++k) b.index[k] = in.qs[k];
    for (int ib = 0; ib < 8; ++ib) set_sign_word(four_bytes(in.scales_signs + 4 * ib), ib, b);
    b.d = in.d;
  }
  static void write(const RowBlock& b, Block& out) {
    for (int k = 0; k < 64; ++k) out.qs[k] = static_cast<std::uint8_t>(b.index[k]);
    for (int ib = 0; ib < 8; ++ib) {
      const std::uint32_t word = sign_word(b, ib);
      std::memcpy(out.scales_signs + 4 * ib, &word, 4);
    }
    out.d = b.d;
  }
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    for (int ib = 0; ib < 8; ++ib) {
      for (int e = 0; e < 2; ++e) put(body, 3 * ib + e, r, low_bytes(b.index + 8 * ib + 4 * e));
      put(body, 3 * ib + 2, r, sign_word(b, ib));
    }
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int ib = 0; ib < 8; ++ib) {
      for (int e = 0; e < 2; ++e) set_low_bytes(get(body, 3 * ib + e, r), b.index + 8 * ib + 4 * e);
      set_sign_word(get(body, 3 * ib + 2, r), ib, b);
    }
  }
};

struct IQ3_S : TileIQ3_S {
  static constexpr DType kType = DType::kIQ3_S;
  using Block = quant::BlockIQ3_S;
  static void read(const Block& in, RowBlock& b) {
    for (int k = 0; k < 64; ++k) {
      b.index[k] = in.qs[k];
      or_high(b.index[k], (in.qh[k / 8] >> k % 8) & 1u);
    }
    std::memcpy(b.sign, in.signs, 32);
    read_scales(in.scales, 8, b.scale);
    b.d = in.d;
  }
  static void write(const RowBlock& b, Block& out) {
    for (int k = 0; k < 64; ++k) {
      out.qs[k] = static_cast<std::uint8_t>(b.index[k]);
      out.qh[k / 8] = static_cast<std::uint8_t>(out.qh[k / 8] | (b.index[k] >> 8) << k % 8);
    }
    std::memcpy(out.signs, b.sign, 32);
    write_scales(b.scale, 8, out.scales);
    out.d = b.d;
  }
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    std::uint32_t high[2] = {};
    for (int k = 0; k < 64; ++k) {
      high[k / 4 % 2] |= static_cast<std::uint32_t>(b.index[k] >> 8) << (8 * (k % 4) + k / 8);
    }
    for (int ib = 0; ib < 8; ++ib) {
      for (int e = 0; e < 2; ++e) put(body, 3 * ib + e, r, low_bytes(b.index + 8 * ib + 4 * e));
      put(body, 3 * ib + 2, r, four_bytes(b.sign + 4 * ib));
    }
    for (int e = 0; e < 2; ++e) put(body + kHighBits, e, r, high[e]);
    put(body + kScales, 0, r, fields(b.scale, 8, 0, 4));
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int ib = 0; ib < 8; ++ib) {
      const std::uint32_t signs = get(body, 3 * ib + 2, r);
      for (int e = 0; e < 2; ++e) {
        const std::uint32_t high = get(body + kHighBits, e, r);
        std::uint16_t* index = b.index + 8 * ib + 4 * e;
        set_low_bytes(get(body, 3 * ib + e, r), index);
        for (int k = 0; k < 4; ++k) or_high(index[k], (high >> (8 * k + ib)) & 1u);
      }
      for (int g = 0; g < 4; ++g) b.sign[4 * ib + g] = byte_of(signs, g);
    }
    for (int g = 0; g < 8; ++g) b.scale[g] = field(get(body + kScales, 0, r), g, 4);
  }
};

// Points of IQ1 as codes.
template <class Tile>
void put_codes(const RowBlock& b, int r, std::byte* body) {
  for (int v = 0; v < 4; ++v) {
    std::uint32_t upper = 0;
    for (int e = 0; e < 2; ++e) {
      std::uint16_t codes[4];
      for (int g = 0; g < 4; ++g) {
        codes[g] = kIqTables.iq1.code[b.index[8 * v + 4 * e + g]];
        upper |= static_cast<std::uint32_t>(codes[g] >> 8) << (8 * g + 4 * e);
      }
      put(body + Tile::points(2 * v + e), 0, r, low_bytes(codes));
    }
    put(body + Tile::high_bits(v), 0, r, upper);
  }
}
template <class Tile>
void get_codes(const std::byte* body, int r, RowBlock& b) {
  for (int t = 0; t < 32; ++t) {
    const std::uint32_t low = get(body + Tile::points(t / 4), 0, r), upper = get(body + Tile::high_bits(t / 8), 0, r);
    const unsigned high = (upper >> (8 * (t % 4) + 4 * (t / 4 % 2))) & 15;
    b.index[t] = kIqTables.iq1.point[byte_of(low, t % 4) | high << 8];
  }
}

// qh of IQ1_S: high bits of four indices, the scale, the sign of the shift.
std::uint16_t high_word(const RowBlock& b, int ib) {
  unsigned word = static_cast<unsigned>(b.scale[ib]) << 12 | static_cast<unsigned>(b.sign[4 * ib]) << 15;
  for (int g = 0; g < 4; ++g) word |= static_cast<unsigned>(b.index[4 * ib + g] >> 8) << 3 * g;
  return static_cast<std::uint16_t>(word);
}
void set_high_word(unsigned word, int ib, RowBlock& b) {
  b.scale[ib] = (word >> 12) & 7;
  for (int g = 0; g < 4; ++g) {
    or_high(b.index[4 * ib + g], (word >> 3 * g) & 7);
    b.sign[4 * ib + g] = static_cast<std::uint8_t>(word >> 15);
  }
}

struct IQ1_S : TileIQ1_S {
  static constexpr DType kType = DType::kIQ1_S;
  using Block = quant::BlockIQ1_S;
  static void read(const Block& in, RowBlock& b) {
    for (int t = 0; t < 32; ++t) b.index[t] = in.qs[t];
    for (int ib = 0; ib < 8; ++ib) set_high_word(in.qh[ib], ib, b);
    b.d = in.d;
  }
  static void write(const RowBlock& b, Block& out) {
    for (int t = 0; t < 32; ++t) out.qs[t] = static_cast<std::uint8_t>(b.index[t]);
    for (int ib = 0; ib < 8; ++ib) out.qh[ib] = high_word(b, ib);
    out.d = b.d;
  }
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    std::uint8_t nibble[8];
    for (int ib = 0; ib < 8; ++ib) nibble[ib] = static_cast<std::uint8_t>(b.scale[ib] | b.sign[4 * ib] << 3);
    put(body + kScales, 0, r, fields(nibble, 8, 0, 4));
    put_codes<IQ1_S>(b, r, body);
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    for (int ib = 0; ib < 8; ++ib) {
      const std::uint8_t nibble = field(get(body + kScales, 0, r), ib, 4);
      b.scale[ib] = nibble & 7;
      for (int g = 0; g < 4; ++g) b.sign[4 * ib + g] = nibble >> 3;
    }
    get_codes<IQ1_S>(body, r, b);
  }
};

struct IQ1_M : TileIQ1_M {
  static constexpr DType kType = DType::kIQ1_M;
  using Block = quant::BlockIQ1_M;
  // Nibble t % 2 of byte t / 2: high bits of an index, the sign of its shift.
  static void set_high_nibble(unsigned nibble, int t, RowBlock& b) {
    or_high(b.index[t], nibble & 7);
    b.sign[t] = static_cast<std::uint8_t>(nibble >> 3);
  }
  static unsigned high_nibble(const RowBlock& b, int t) {
    return static_cast<unsigned>(b.index[t] >> 8) | static_cast<unsigned>(b.sign[t]) << 3;
  }
  // A word holds four scales of three bits and a nibble of d.
  static void set_scale_word(unsigned word, int v, RowBlock& b) {
    for (int g = 0; g < 4; ++g) b.scale[4 * v + g] = (word >> 3 * g) & 7;
    b.d = static_cast<std::uint16_t>(v == 0 ? word >> 12 : b.d | (word >> 12) << 4 * v);
  }
  static unsigned scale_word(const RowBlock& b, int v) {
    unsigned word = static_cast<unsigned>((b.d >> 4 * v) & 15) << 12;
    for (int g = 0; g < 4; ++g) word |= static_cast<unsigned>(b.scale[4 * v + g]) << 3 * g;
    return word;
  }
  static void read(const Block& in, RowBlock& b) {
    for (int t = 0; t < 32; ++t) {
      b.index[t] = in.qs[t];
      set_high_nibble((in.qh[t / 2] >> 4 * (t % 2)) & 15u, t, b);
    }
    for (int v = 0; v < 4; ++v) set_scale_word(in.scales[v], v, b);
  }
  static void write(const RowBlock& b, Block& out) {
    for (int t = 0; t < 32; ++t) {
      out.qs[t] = static_cast<std::uint8_t>(b.index[t]);
      out.qh[t / 2] = static_cast<std::uint8_t>(out.qh[t / 2] | high_nibble(b, t) << 4 * (t % 2));
    }
    for (int v = 0; v < 4; ++v) out.scales[v] = static_cast<std::uint16_t>(scale_word(b, v));
  }
  static void put_row(const RowBlock& b, int r, std::byte* body) {
    std::uint32_t signs = 0;
    for (int t = 0; t < 32; ++t) signs |= static_cast<std::uint32_t>(b.sign[t]) << (8 * (t % 4) + t / 4);
    put(body + kSigns, 0, r, signs);
    for (int v = 0; v < 2; ++v) put(body + kScales, v, r, scale_word(b, 2 * v) | scale_word(b, 2 * v + 1) << 16);
    put_codes<IQ1_M>(b, r, body);
  }
  static void get_row(const std::byte* body, int r, RowBlock& b) {
    const std::uint32_t signs = get(body + kSigns, 0, r);
    for (int t = 0; t < 32; ++t) b.sign[t] = (signs >> (8 * (t % 4) + t / 4)) & 1;
    for (int v = 0; v < 4; ++v) set_scale_word(half_of(get(body + kScales, v / 2, r), v % 2), v, b);
    get_codes<IQ1_M>(body, r, b);
  }
};

template <class Format>
void from_file(const std::byte* file, RowBlock& block) {
  typename Format::Block in;
  std::memcpy(&in, file, sizeof in);
  Format::read(in, block);
  block.m = 0;
}
template <class Format>
void to_file(const RowBlock& block, std::byte* file) {
  typename Format::Block out{};
  Format::write(block, out);
  std::memcpy(file, &out, sizeof out);
}

constexpr bool has_header(DType dtype) { return dtype != DType::kIQ1_M; }

template <class Format>
void to_tile(const RowBlock* blocks, std::byte* header, std::byte* body) {
  for (int r = 0; r < kTileRows; ++r) {
    if constexpr (has_header(Format::kType)) std::memcpy(header + 2 * r, &blocks[r].d, 2);
    Format::put_row(blocks[r], r, body);
  }
}
template <class Format>
void from_tile(const std::byte* header, const std::byte* body, RowBlock* blocks) {
  for (int r = 0; r < kTileRows; ++r) {
    if constexpr (has_header(Format::kType)) std::memcpy(&blocks[r].d, header + 2 * r, 2);
    Format::get_row(body, r, blocks[r]);
    blocks[r].m = 0;
  }
}

template <class F>
constexpr BlockFormat format_of() {
  return {F::kType,     F::kColumns, sizeof(typename F::Block), F::bytes, F::header, F::body, from_file<F>, to_file<F>,
          from_tile<F>, to_tile<F>};
}
constexpr BlockFormat kFormats[] = {format_of<IQ1_S>(), format_of<IQ1_M>(),   format_of<IQ2_XXS>(), format_of<IQ2_XS>(),
                                    format_of<IQ2_S>(), format_of<IQ3_XXS>(), format_of<IQ3_S>()};

}  // namespace

std::span<const BlockFormat> lattice_formats() { return kFormats; }

}  // namespace dodeca::cpu
