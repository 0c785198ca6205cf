// IQ1_S and IQ1_M: ternary lattice points of eight weights, shifted by an eighth up or down.
#include "quant/formats/iq1.hpp"

#include "quant/iq_tables.hpp"

namespace dodeca::quant {
namespace {

constexpr float kDelta = 0.125f;

void put_group(std::uint32_t index, float scale, float delta, float* y) {
  const std::int8_t* point = kIq1sGrid[index];
  for (int j = 0; j < 8; ++j) y[j] = scale * (static_cast<float>(point[j]) + delta);
}

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

// Nibble t % 2 of byte t / 2: high bits of an index, the sign of its shift.
void set_high_nibble(unsigned nibble, int t, RowBlock& b) {
  or_high(b.index[t], nibble & 7);
  b.sign[t] = static_cast<std::uint8_t>(nibble >> 3);
}
unsigned high_nibble(const RowBlock& b, int t) {
  return static_cast<unsigned>(b.index[t] >> 8) | static_cast<unsigned>(b.sign[t]) << 3;
}
// A word holds four scales of three bits and a nibble of d.
void set_scale_word(unsigned word, int v, RowBlock& b) {
  for (int g = 0; g < 4; ++g) b.scale[4 * v + g] = (word >> 3 * g) & 7;
  b.d = static_cast<std::uint16_t>(v == 0 ? word >> 12 : b.d | (word >> 12) << 4 * v);
}
unsigned scale_word(const RowBlock& b, int v) {
  unsigned word = static_cast<unsigned>((b.d >> 4 * v) & 15) << 12;
  for (int g = 0; g < 4; ++g) word |= static_cast<unsigned>(b.scale[4 * v + g]) << 3 * g;
  return word;
}

}  // namespace

void Format<DType::kIQ1_S>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const unsigned high = block.qh[ib];
    const float scale = d * static_cast<float>(2 * ((high >> 12) & 7) + 1);
    const float delta = high & 0x8000u ? -kDelta : kDelta;
    for (int g = 0; g < 4; ++g) {
      put_group(block.qs[4 * ib + g] | (((high >> (3 * g)) & 7) << 8), scale, delta, y + 32 * ib + 8 * g);
    }
  }
}

void Format<DType::kIQ1_M>::decode(const Block& block, float* y) {
  unsigned d_bits = 0;
  for (int k = 0; k < 4; ++k) d_bits |= static_cast<unsigned>(block.scales[k] >> 12) << (4 * k);
  const float d = f16_to_f32(static_cast<std::uint16_t>(d_bits));
  for (int ib = 0; ib < 8; ++ib) {
    for (int g = 0; g < 4; ++g) {
      const unsigned s = (block.scales[ib / 2] >> (6 * (ib % 2) + 3 * (g / 2))) & 7;
      const unsigned high = (block.qh[2 * ib + g / 2] >> (4 * (g % 2))) & 15;
      put_group(block.qs[4 * ib + g] | ((high & 7) << 8), d * static_cast<float>(2 * s + 1),
                high & 8 ? -kDelta : kDelta, y + 32 * ib + 8 * g);
    }
  }
}

void Format<DType::kIQ1_S>::read(const Block& in, RowBlock& b) {
  for (int t = 0; t < 32; ++t) b.index[t] = in.qs[t];
  for (int ib = 0; ib < 8; ++ib) set_high_word(in.qh[ib], ib, b);
  b.d = in.d;
}
void Format<DType::kIQ1_S>::write(const RowBlock& b, Block& out) {
  for (int t = 0; t < 32; ++t) out.qs[t] = static_cast<std::uint8_t>(b.index[t]);
  for (int ib = 0; ib < 8; ++ib) out.qh[ib] = high_word(b, ib);
  out.d = b.d;
}
void Format<DType::kIQ1_S>::put_row(const RowBlock& b, int r, std::byte* body) {
  std::uint8_t nibble[8];
  for (int ib = 0; ib < 8; ++ib) nibble[ib] = static_cast<std::uint8_t>(b.scale[ib] | b.sign[4 * ib] << 3);
  put(body + kScales, 0, r, fields(nibble, 8, 0, 4));
  put_codes<TileIQ1_S>(b, r, body);
}
void Format<DType::kIQ1_S>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint8_t nibble = field(get(body + kScales, 0, r), ib, 4);
    b.scale[ib] = nibble & 7;
    for (int g = 0; g < 4; ++g) b.sign[4 * ib + g] = nibble >> 3;
  }
  get_codes<TileIQ1_S>(body, r, b);
}

void Format<DType::kIQ1_M>::read(const Block& in, RowBlock& b) {
  for (int t = 0; t < 32; ++t) {
    b.index[t] = in.qs[t];
    set_high_nibble((in.qh[t / 2] >> 4 * (t % 2)) & 15u, t, b);
  }
  for (int v = 0; v < 4; ++v) set_scale_word(in.scales[v], v, b);
}
void Format<DType::kIQ1_M>::write(const RowBlock& b, Block& out) {
  for (int t = 0; t < 32; ++t) {
    out.qs[t] = static_cast<std::uint8_t>(b.index[t]);
    out.qh[t / 2] = static_cast<std::uint8_t>(out.qh[t / 2] | high_nibble(b, t) << 4 * (t % 2));
  }
  for (int v = 0; v < 4; ++v) out.scales[v] = static_cast<std::uint16_t>(scale_word(b, v));
}
void Format<DType::kIQ1_M>::put_row(const RowBlock& b, int r, std::byte* body) {
  std::uint32_t signs = 0;
  for (int t = 0; t < 32; ++t) signs |= static_cast<std::uint32_t>(b.sign[t]) << (8 * (t % 4) + t / 4);
  put(body + kSigns, 0, r, signs);
  for (int v = 0; v < 2; ++v) put(body + kScales, v, r, scale_word(b, 2 * v) | scale_word(b, 2 * v + 1) << 16);
  put_codes<TileIQ1_M>(b, r, body);
}
void Format<DType::kIQ1_M>::get_row(const std::byte* body, int r, RowBlock& b) {
  const std::uint32_t signs = get(body + kSigns, 0, r);
  for (int t = 0; t < 32; ++t) b.sign[t] = (signs >> (8 * (t % 4) + t / 4)) & 1;
  for (int v = 0; v < 4; ++v) set_scale_word(half_of(get(body + kScales, v / 2, r), v % 2), v, b);
  get_codes<TileIQ1_M>(body, r, b);
}

}  // namespace dodeca::quant
