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
  for (int l = 0; l < 32; l += 8) {
    const std::uint64_t high = eight_bytes(in.hmask + l);
    for (int j = 0; j < 8; ++j) {
      std::uint8_t* code = out.code + 32 * j + l;
      set_eight_bytes(code, eight_bytes(code) | (high >> j & kEightOnes) << 2);
    }
  }
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? in.scales[g] & 15 : in.scales[g - 8] >> 4;
    out.scale[g] = static_cast<std::uint8_t>(low | ((in.scales[8 + g % 4] >> 2 * (g / 4)) & 3) << 4);
  }
  out.d = in.d;
  out.m = 0;
}
void Format<DType::kQ3_K>::write(const RowBlock& in, Block& out) {
  write_2bit(in.code, out.qs);
  for (int l = 0; l < 32; l += 8) {
    std::uint64_t high = 0;
    for (int j = 0; j < 8; ++j) high |= (eight_bytes(in.code + 32 * j + l) >> 2 & kEightOnes) << j;
    set_eight_bytes(out.hmask + l, high);
  }
  for (int g = 0; g < 16; ++g) {
    std::uint8_t &low = out.scales[g % 8], &high = out.scales[8 + g % 4];
    low = static_cast<std::uint8_t>(low | (in.scale[g] & 15) << (g < 8 ? 0 : 4));
    high = static_cast<std::uint8_t>(high | (in.scale[g] >> 4) << 2 * (g / 4));
  }
  out.d = in.d;
}
void Format<DType::kQ3_K>::put_row(const RowBlock& b, int r, std::byte* body) {
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
void Format<DType::kQ3_K>::get_row(const std::byte* body, int r, RowBlock& b) {
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

}  // namespace dodeca::quant
