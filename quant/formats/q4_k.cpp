// Q4_K and Q5_K: sub-blocks of 32 weights in 4 or 5 bits, each with a 6-bit scale and a 6-bit minimum.
#include "quant/formats/k_types.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 32, kSubs = kSuperBlock / kSub;

// Scales and minima share twelve bytes: the first four of each keep six bits in bytes 0-3 and 4-7; the last four keep
// their low four bits in bytes 8-11 and their high two on top of the first four's.
int scale_of(const std::uint8_t* packed, int sub) {
  return sub < 4 ? packed[sub] & 63 : (packed[sub + 4] & 15) | ((packed[sub - 4] >> 6) << 4);
}
int min_of(const std::uint8_t* packed, int sub) {
  return sub < 4 ? packed[sub + 4] & 63 : (packed[sub + 4] >> 4) | ((packed[sub] >> 6) << 4);
}
void read_scales6(const std::uint8_t* s, RowBlock& block) {
  for (int j = 0; j < 4; ++j) {
    block.scale[j] = s[j] & 63;
    block.min[j] = s[j + 4] & 63;
    block.scale[j + 4] = static_cast<std::uint8_t>((s[j + 8] & 15) | (s[j] >> 6) << 4);
    block.min[j + 4] = static_cast<std::uint8_t>((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
  }
}
void write_scales6(const RowBlock& block, std::uint8_t* s) {
  for (int j = 0; j < 4; ++j) {
    s[j] = static_cast<std::uint8_t>(block.scale[j] | (block.scale[j + 4] >> 4) << 6);
    s[j + 4] = static_cast<std::uint8_t>(block.min[j] | (block.min[j + 4] >> 4) << 6);
    s[j + 8] = static_cast<std::uint8_t>((block.scale[j + 4] & 15) | (block.min[j + 4] & 15) << 4);
  }
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

}  // namespace

void Format<DType::kQ4_K>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(scale_of(block.scales, sub));
    const float min = dmin * static_cast<float>(min_of(block.scales, sub));
    const std::uint8_t* qs = block.qs + 32 * (sub / 2);
    const int shift = 4 * (sub % 2);
    for (int i = 0; i < kSub; ++i) y[sub * kSub + i] = scale * static_cast<float>((qs[i] >> shift) & 15) - min;
  }
}

void Format<DType::kQ5_K>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(scale_of(block.scales, sub));
    const float min = dmin * static_cast<float>(min_of(block.scales, sub));
    const std::uint8_t* qs = block.qs + 32 * (sub / 2);
    const int shift = 4 * (sub % 2);
    for (int i = 0; i < kSub; ++i) {
      const int q = ((qs[i] >> shift) & 15) | (((block.qh[i] >> sub) & 1) << 4);
      y[sub * kSub + i] = scale * static_cast<float>(q) - min;
    }
  }
}

void Format<DType::kQ4_K>::read(const Block& in, RowBlock& out) {
  for (int j = 0; j < 4; ++j) read_nibbles(in.qs + 32 * j, 32, out.code + 64 * j);
  read_scales6(in.scales, out);
  out.d = in.d;
  out.m = in.dmin;
}
void Format<DType::kQ4_K>::write(const RowBlock& in, Block& out) {
  for (int j = 0; j < 4; ++j) write_nibbles(in.code + 64 * j, 32, out.qs + 32 * j);
  write_scales6(in, out.scales);
  out.d = in.d;
  out.dmin = in.m;
}
void Format<DType::kQ4_K>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int k = 0; k < 8; ++k) codes4_to_tile(b, r, k, body + kCodes + 256 * k);
  scales6_to_tile<TileQ4_K>(b, r, body);
}
void Format<DType::kQ4_K>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int k = 0; k < 8; ++k) codes4_from_tile(body + kCodes + 256 * k, r, k, b);
  scales6_from_tile<TileQ4_K>(body, r, b);
}

void Format<DType::kQ5_K>::read(const Block& in, RowBlock& out) {
  for (int j = 0; j < 4; ++j) read_nibbles(in.qs + 32 * j, 32, out.code + 64 * j);
  read_plane<4>(in.qh, out.code);
  read_scales6(in.scales, out);
  out.d = in.d;
  out.m = in.dmin;
}
void Format<DType::kQ5_K>::write(const RowBlock& in, Block& out) {
  for (int j = 0; j < 4; ++j) write_nibbles(in.code + 64 * j, 32, out.qs + 32 * j);
  write_plane<4>(in.code, out.qh);
  write_scales6(in, out.scales);
  out.d = in.d;
  out.dmin = in.m;
}
void Format<DType::kQ5_K>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int k = 0; k < 8; ++k) codes5_to_tile(b, r, k, body + high_bits(k));
  scales6_to_tile<TileQ5_K>(b, r, body);
}
void Format<DType::kQ5_K>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int k = 0; k < 8; ++k) codes5_from_tile(body + high_bits(k), r, k, b);
  scales6_from_tile<TileQ5_K>(body, r, b);
}

}  // namespace dodeca::quant
