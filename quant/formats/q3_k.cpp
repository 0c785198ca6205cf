// Q3_K: sub-blocks of 16 weights in 3 bits (-4..3), each with a 6-bit signed scale.
#include "quant/formats/k_types.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 16, kSubs = kSuperBlock / kSub;

constexpr int byte_of(int i) { return 32 * (i / 128) + i % 32; }  // the two low bits
constexpr int shift_of(int i) { return 2 * (i % 128 / 32); }
constexpr int mask_bit_of(int i) { return i / 32; }  // the high bit, in hmask[i % 32]

int scale_of(const BlockQ3_K& block, int sub) {
  const int low = sub < 8 ? block.scales[sub] & 15 : block.scales[sub - 8] >> 4;
  const int high = (block.scales[8 + sub % 4] >> (2 * (sub / 4))) & 3;
  return (low | (high << 4)) - 32;
}

}  // namespace

void Format<DType::kQ3_K>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(scale_of(block, sub));
    const int first = sub * kSub;
    for (int i = first; i < first + kSub; ++i) {
      const int low = (block.qs[byte_of(i)] >> shift_of(i)) & 3;
      const int high = (block.hmask[i % 32] >> mask_bit_of(i)) & 1;
      y[i] = scale * static_cast<float>(low - (high ? 0 : 4));
    }
  }
}

void Format<DType::kQ3_K>::read(const Block& in, RowBlock& out) {
  read_2bit(in.qs, out.code);
  read_plane<2>(in.hmask, out.code);
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? in.scales[g] & 15 : in.scales[g - 8] >> 4;
    out.scale[g] = static_cast<std::uint8_t>(low | ((in.scales[8 + g % 4] >> 2 * (g / 4)) & 3) << 4);
  }
  out.d = in.d;
  out.m = 0;
}
void Format<DType::kQ3_K>::write(const RowBlock& in, Block& out) {
  write_2bit(in.code, out.qs);
  write_plane<2>(in.code, out.hmask);
  for (int g = 0; g < 16; ++g) {
    std::uint8_t &low = out.scales[g % 8], &high = out.scales[8 + g % 4];
    low = static_cast<std::uint8_t>(low | (in.scale[g] & 15) << (g < 8 ? 0 : 4));
    high = static_cast<std::uint8_t>(high | (in.scale[g] >> 4) << 2 * (g / 4));
  }
  out.d = in.d;
}
void Format<DType::kQ3_K>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int p = 0; p < 8; ++p) codes3_to_tile(b, r, p, body + codes(p));
  put(body + kScales, 0, r, fields(b.scale, 8, 0, 4));
  put(body + kScales, 1, r, fields(b.scale + 8, 8, 0, 4));
  put(body + kHighScales, 0, r, fields(b.scale, 16, 4, 2));
}
void Format<DType::kQ3_K>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int p = 0; p < 8; ++p) codes3_from_tile(body + codes(p), r, p, b);
  const std::uint32_t high = get(body + kHighScales, 0, r);
  for (int g = 0; g < 16; ++g) {
    const std::uint8_t low = field(get(body + kScales, g / 8, r), g % 8, 4);
    b.scale[g] = static_cast<std::uint8_t>(low | field(high, g, 2) << 4);
  }
}

}  // namespace dodeca::quant
