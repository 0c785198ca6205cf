// Types of ik_llama.cpp whose codes stand for the values of a table.
#include "quant/formats/iq_k.hpp"

namespace dodeca::quant {
namespace {

template <DType T>
void decode_block(const typename Format<T>::Block& block, float d, float* y) {
  using F = Format<T>;
  RowBlock row;
  F::read(block, row);
  for (int g = 0; g < kSuperBlock / F::kSub; ++g) {
    const float scale = d * static_cast<float>(F::scale(row, g));
    for (int k = F::kSub * g; k < F::kSub * (g + 1); ++k) y[k] = scale * static_cast<float>(F::weight(row, k));
  }
}

// ---- the file's codes

void read_codes4(const std::uint8_t* qs, std::uint8_t* code) {
  for (int k = 0; k < 8; ++k) read_nibbles(qs + 16 * k, 16, code + 32 * k);
}
void write_codes4(const std::uint8_t* code, std::uint8_t* qs) {
  for (int k = 0; k < 8; ++k) write_nibbles(code + 32 * k, 16, qs + 16 * k);
}
template <class Block>
void read_codes3(const Block& in, std::uint8_t* code) {
  read_2bit(in.qs, code);
  read_plane<2>(in.qh, code);
}
template <class Block>
void write_codes3(const std::uint8_t* code, Block& out) {
  write_2bit(code, out.qs);
  write_plane<2>(code, out.qh);
}
// Nibbles of five and six bits.
void read_wide_nibbles(const std::uint8_t* qs, std::uint8_t* code) {
  for (int j = 0; j < 4; ++j) read_nibbles(qs + 32 * j, 32, code + 64 * j);
}
void write_wide_nibbles(const std::uint8_t* code, std::uint8_t* qs) {
  for (int j = 0; j < 4; ++j) write_nibbles(code + 64 * j, 32, qs + 32 * j);
}
template <class Block>
void read_codes5(const Block& in, std::uint8_t* code) {
  read_wide_nibbles(in.qs, code);
  read_plane<4>(in.qh, code);
}
template <class Block>
void write_codes5(const std::uint8_t* code, Block& out) {
  write_wide_nibbles(code, out.qs);
  write_plane<4>(code, out.qh);
}

// ---- the file's scales

// Of sub-blocks of 16: nibbles, and (IQ4_K, IQ5_K) upper bits.
void read_scales4(const std::uint8_t* low, std::uint8_t* scale) {
  for (int g = 0; g < 16; ++g) scale[g] = (low[g / 2] >> 4 * (g % 2)) & 15;
}
void write_scales4(const std::uint8_t* scale, std::uint8_t* low) {
  for (int i = 0; i < 8; ++i) low[i] = static_cast<std::uint8_t>((scale[2 * i] & 15) | (scale[2 * i + 1] & 15) << 4);
}
template <class Block>
void read_scales6(const Block& in, std::uint8_t* scale) {
  read_scales4(in.scales_l, scale);
  for (int g = 0; g < 16; ++g) {
    scale[g] = static_cast<std::uint8_t>(scale[g] | ((in.scales_h[g / 4] >> 2 * (g % 4)) & 3) << 4);
  }
}
template <class Block>
void write_scales6(const std::uint8_t* scale, Block& out) {
  write_scales4(scale, out.scales_l);
  for (int g = 0; g < 16; ++g) {
    std::uint8_t& high = out.scales_h[g / 4];
    high = static_cast<std::uint8_t>(high | (scale[g] >> 4) << 2 * (g % 4));
  }
}

// Of sub-blocks of 32: where nibble b is. IQ2_KS has neighbours in one byte, the others sub-blocks four apart.
struct Place {
  int byte, shift;
};
constexpr Place neighbours(int b) { return {b / 2, 4 * (b % 2)}; }
constexpr Place apart(int b) { return {b % 4, 4 * (b / 4)}; }

int nibble_at(const std::uint8_t* low, Place place) { return (low[place.byte] >> place.shift) & 15; }
void add_nibble(int value, std::uint8_t* low, Place place) {
  low[place.byte] = static_cast<std::uint8_t>(low[place.byte] | (value & 15) << place.shift);
}

// Nibbles at place(b), fifth bits and shifts from bits of one word on: scale[b] is twice the scale, and its shift.
template <class Block, class At>
void read_scales5(const Block& in, int fifth, int shift, At place, std::uint8_t* scale) {
  for (int b = 0; b < 8; ++b) {
    const int number = nibble_at(in.scales, place(b)) | (in.shifts >> (fifth + b) & 1) << 4;
    scale[b] = static_cast<std::uint8_t>(2 * number + (in.shifts >> (shift + b) & 1));
  }
}
template <class Block, class At>
void write_scales5(const std::uint8_t* scale, int fifth, int shift, At place, Block& out) {
  for (int b = 0; b < 8; ++b) {
    add_nibble(scale[b] >> 1, out.scales, place(b));
    out.shifts =
        static_cast<std::uint16_t>(out.shifts | (scale[b] >> 5 & 1) << (fifth + b) | (scale[b] & 1) << (shift + b));
  }
}

// Sixteen bits of nibbles and the 15 bits that are stored, in the upper bits of a word.
std::uint16_t nibbles_of(std::uint16_t stored) { return static_cast<std::uint16_t>(stored ^ stored >> 1); }
std::uint16_t stored_as(std::uint16_t nibbles) {
  unsigned v = nibbles;
  for (const int shift : {1, 2, 4, 8}) v ^= v >> shift;
  return static_cast<std::uint16_t>(v);
}

}  // namespace

// ---- what the formats share

template <DType T, class Block, class Tile>
void TableFormat16<T, Block, Tile>::decode(const Block& block, float* y) {
  decode_block<T>(block, f16_to_f32(block.d), y);
}
template <DType T, class Block, class Tile>
void TableFormat32<T, Block, Tile>::decode(const Block& block, float row_scale, float* y) {
  decode_block<T>(block, row_scale, y);
}

template <DType T, class Block, class Tile>
void TableFormat16<T, Block, Tile>::put_row(const RowBlock& b, int r, std::byte* body) {
  if constexpr (Tile::kScaleBits == 8) {
    scale_bytes_to_tile(b.scale, 16, r, body, Tile::scales);
  } else {
    for (int i = 0; i < 2; ++i) put(body + Tile::scales(i), 0, r, fields(b.scale + 8 * i, 8, 0, 4));
    if constexpr (Tile::kScaleBits == 6) put(body + Tile::scales(2), 0, r, fields(b.scale, 16, 4, 2));
  }
  for (int k = 0; k < 8; ++k) codes_to_tile<Tile::kBits>(b, r, k, body + Tile::codes(k));
}
template <DType T, class Block, class Tile>
void TableFormat16<T, Block, Tile>::get_row(const std::byte* body, int r, RowBlock& b) {
  if constexpr (Tile::kScaleBits == 8) {
    scale_bytes_from_tile(body, 16, r, b.scale, Tile::scales);
  } else {
    const std::uint32_t high = Tile::kScaleBits == 6 ? get(body + Tile::scales(2), 0, r) : 0;
    for (int g = 0; g < 16; ++g) {
      const std::uint8_t low = field(get(body + Tile::scales(g / 8), 0, r), g % 8, 4);
      b.scale[g] = static_cast<std::uint8_t>(low | field(high, g, 2) << 4);
    }
  }
  for (int k = 0; k < 8; ++k) codes_from_tile<Tile::kBits>(body + Tile::codes(k), r, k, b);
}

template <DType T, class Block, class Tile>
void TableFormat32<T, Block, Tile>::put_row(const RowBlock& b, int r, std::byte* body) {
  scale_bytes_to_tile(b.scale, 8, r, body, Tile::scales);
  for (int k = 0; k < Tile::kChunks; ++k) codes_to_tile<Tile::kBits>(b, r, k, body + Tile::codes(k));
}
template <DType T, class Block, class Tile>
void TableFormat32<T, Block, Tile>::get_row(const std::byte* body, int r, RowBlock& b) {
  scale_bytes_from_tile(body, 8, r, b.scale, Tile::scales);
  for (int k = 0; k < Tile::kChunks; ++k) codes_from_tile<Tile::kBits>(body + Tile::codes(k), r, k, b);
}

// ---- sub-blocks of 16

void Format<DType::kIQ2_K>::read(const Block& in, RowBlock& out) {
  read_2bit(in.qs, out.code);
  read_scales4(in.scales, out.scale);
  out.d = in.d;
  out.m = in.shifts;
}
void Format<DType::kIQ2_K>::write(const RowBlock& in, Block& out) {
  write_2bit(in.code, out.qs);
  write_scales4(in.scale, out.scales);
  out.d = in.d;
  out.shifts = in.m;
}

// RowBlock::scale is the scale plus 32, as IQ4_K stores it.
void Format<DType::kIQ3_K>::read(const Block& in, RowBlock& out) {
  read_codes3(in, out.code);
  read_scales4(in.scales, out.scale);
  for (int g = 0; g < 16; ++g) {
    const int size = 2 * out.scale[g] + 1;
    out.scale[g] = static_cast<std::uint8_t>(32 + (in.signs >> g & 1 ? -size : size));
  }
  out.d = in.d;
  out.m = in.shifts;
}
void Format<DType::kIQ3_K>::write(const RowBlock& in, Block& out) {
  write_codes3(in.code, out);
  std::uint8_t half[16];
  for (int g = 0; g < 16; ++g) {
    const bool negative = in.scale[g] < 32;
    half[g] = static_cast<std::uint8_t>((negative ? 32 - in.scale[g] : in.scale[g] - 32) / 2);
    out.signs = static_cast<std::uint16_t>(out.signs | (negative ? 1 : 0) << g);
  }
  write_scales4(half, out.scales);
  out.d = in.d;
  out.shifts = in.m;
}

void Format<DType::kIQ4_K>::read(const Block& in, RowBlock& out) {
  read_codes4(in.qs, out.code);
  read_scales6(in, out.scale);
  out.d = in.d;
  out.m = in.shifts;
}
void Format<DType::kIQ4_K>::write(const RowBlock& in, Block& out) {
  write_codes4(in.code, out.qs);
  write_scales6(in.scale, out);
  out.d = in.d;
  out.shifts = in.m;
}

void Format<DType::kIQ5_K>::read(const Block& in, RowBlock& out) {
  read_codes5(in, out.code);
  read_scales6(in, out.scale);
  out.d = in.d;
  out.m = in.shifts;
}
void Format<DType::kIQ5_K>::write(const RowBlock& in, Block& out) {
  write_codes5(in.code, out);
  write_scales6(in.scale, out);
  out.d = in.d;
  out.shifts = in.m;
}

void Format<DType::kIQ6_K>::read(const Block& in, RowBlock& out) {
  read_wide_nibbles(in.qs, out.code);
  read_2bit<4>(in.qh, out.code);
  std::memcpy(out.scale, in.scales, 16);
  out.d = in.d;
  out.m = in.shifts;
}
void Format<DType::kIQ6_K>::write(const RowBlock& in, Block& out) {
  write_wide_nibbles(in.code, out.qs);
  write_2bit<4>(in.code, out.qh);
  std::memcpy(out.scales, in.scale, 16);
  out.d = in.d;
  out.shifts = in.m;
}

// ---- sub-blocks of 32

void Format<DType::kIQ2_KS>::read(const Block& in, RowBlock& out) {
  read_2bit(in.qs, out.code);
  read_scales5(in, 8, 0, neighbours, out.scale);
}
void Format<DType::kIQ2_KS>::write(const RowBlock& in, Block& out) {
  write_2bit(in.code, out.qs);
  write_scales5(in.scale, 8, 0, neighbours, out);
}

void Format<DType::kIQ3_KS>::read(const Block& in, RowBlock& out) {
  read_codes3(in, out.code);
  read_scales5(in, 0, 8, apart, out.scale);
}
void Format<DType::kIQ3_KS>::write(const RowBlock& in, Block& out) {
  write_codes3(in.code, out);
  write_scales5(in.scale, 0, 8, apart, out);
}

void Format<DType::kIQ2_KL>::read(const Block& in, RowBlock& out) {
  for (int i = 0; i < 4; ++i) read_nibbles(in.qs + 16 * i, 16, out.code + 32 * i);
  read_plane<4, 16>(in.qh, out.code);
  for (int b = 0; b < 8; ++b) {
    out.scale[b] = static_cast<std::uint8_t>(2 * (nibble_at(in.scales_l, apart(b)) | (in.scales_h >> 2 * b & 3) << 4));
  }
}
void Format<DType::kIQ2_KL>::write(const RowBlock& in, Block& out) {
  for (int i = 0; i < 4; ++i) write_nibbles(in.code + 32 * i, 16, out.qs + 16 * i);
  write_plane<4, 16>(in.code, out.qh);
  for (int b = 0; b < 8; ++b) {
    add_nibble(in.scale[b] >> 1, out.scales_l, apart(b));
    out.scales_h = static_cast<std::uint16_t>(out.scales_h | (in.scale[b] >> 5 & 3) << 2 * b);
  }
}

void Format<DType::kIQ4_KS>::read(const Block& in, RowBlock& out) {
  read_codes4(in.qs, out.code);
  std::memcpy(out.scale, in.scales, 8);
}
void Format<DType::kIQ4_KS>::write(const RowBlock& in, Block& out) {
  write_codes4(in.code, out.qs);
  std::memcpy(out.scales, in.scale, 8);
}

void Format<DType::kIQ4_KSS>::read(const Block& in, RowBlock& out) {
  std::uint16_t nibbles[64];
  std::memset(out.scale, 0, 8);
  for (int i = 0; i < 64; ++i) {
    nibbles[i] = nibbles_of(in.words[i] & 0xfffe);
    out.scale[i / 8] = static_cast<std::uint8_t>(out.scale[i / 8] | (in.words[i] & 1) << i % 8);
  }
  std::uint8_t qs[128];
  std::memcpy(qs, nibbles, sizeof qs);
  read_codes4(qs, out.code);
}
void Format<DType::kIQ4_KSS>::write(const RowBlock& in, Block& out) {
  std::uint8_t qs[128];
  write_codes4(in.code, qs);
  std::memcpy(out.words, qs, sizeof qs);
  for (int i = 0; i < 64; ++i) {
    out.words[i] = static_cast<std::uint16_t>((stored_as(out.words[i]) & 0xfffe) | (in.scale[i / 8] >> i % 8 & 1));
  }
}
void Format<DType::kIQ4_KSS>::put_row(const RowBlock& b, int r, std::byte* body) {
  Block words;
  write(b, words);
  for (int v = 0; v < 32; ++v) {
    std::uint32_t lane;
    std::memcpy(&lane, words.words + 2 * v, 4);
    put(body, v, r, lane);
  }
}
void Format<DType::kIQ4_KSS>::get_row(const std::byte* body, int r, RowBlock& b) {
  Block words;
  for (int v = 0; v < 32; ++v) {
    const std::uint32_t lane = get(body, v, r);
    std::memcpy(words.words + 2 * v, &lane, 4);
  }
  read(words, b);
}

void Format<DType::kIQ5_KS>::read(const Block& in, RowBlock& out) {
  read_codes5(in, out.code);
  std::memcpy(out.scale, in.scales, 8);
}
void Format<DType::kIQ5_KS>::write(const RowBlock& in, Block& out) {
  write_codes5(in.code, out);
  std::memcpy(out.scales, in.scale, 8);
}

#define DODECA_TABLE_TYPE(name, kind) template struct kind<DType::k##name, Block##name, Tile##name>;
DODECA_TABLE_TYPE(IQ2_K, TableFormat16)
DODECA_TABLE_TYPE(IQ3_K, TableFormat16)
DODECA_TABLE_TYPE(IQ4_K, TableFormat16)
DODECA_TABLE_TYPE(IQ5_K, TableFormat16)
DODECA_TABLE_TYPE(IQ6_K, TableFormat16)
DODECA_TABLE_TYPE(IQ2_KS, TableFormat32)
DODECA_TABLE_TYPE(IQ2_KL, TableFormat32)
DODECA_TABLE_TYPE(IQ3_KS, TableFormat32)
DODECA_TABLE_TYPE(IQ4_KS, TableFormat32)
DODECA_TABLE_TYPE(IQ5_KS, TableFormat32)
template void TableFormat32<DType::kIQ4_KSS, BlockIQ4_KSS, TileIQ4_KSS>::decode(const BlockIQ4_KSS& block,
                                                                                float row_scale, float* y);

}  // namespace dodeca::quant
