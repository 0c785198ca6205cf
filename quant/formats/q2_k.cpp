// Q2_K: sub-blocks of 16 weights in 2 bits, each with a 4-bit scale and a 4-bit minimum.
#include "quant/formats/k_types.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 16, kSubs = kSuperBlock / kSub;

// Where weight i keeps its two bits.
constexpr int byte_of(int i) { return 32 * (i / 128) + i % 32; }
constexpr int shift_of(int i) { return 2 * (i % 128 / 32); }

}  // namespace

void Format<DType::kQ2_K>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(block.scales[sub] & 15);
    const float min = dmin * static_cast<float>(block.scales[sub] >> 4);
    const int first = sub * kSub;
    const std::uint8_t* qs = block.qs + byte_of(first);
    for (int i = 0; i < kSub; ++i) {
      y[first + i] = scale * static_cast<float>((qs[i] >> shift_of(first)) & 3) - min;
    }
  }
}

void Format<DType::kQ2_K>::read(const Block& in, RowBlock& out) {
  read_2bit(in.qs, out.code);
  for (int g = 0; g < 16; ++g) {
    out.scale[g] = in.scales[g] & 15;
    out.min[g] = in.scales[g] >> 4;
  }
  out.d = in.d;
  out.m = in.dmin;
}
void Format<DType::kQ2_K>::write(const RowBlock& in, Block& out) {
  write_2bit(in.code, out.qs);
  for (int g = 0; g < 16; ++g) out.scales[g] = static_cast<std::uint8_t>(in.scale[g] | in.min[g] << 4);
  out.d = in.d;
  out.dmin = in.m;
}
void Format<DType::kQ2_K>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int g = 0; g < 16; ++g) codes2_to_tile(b, r, g, body + codes(g));
  std::uint8_t both[16];
  for (int g = 0; g < 16; ++g) both[g] = static_cast<std::uint8_t>(b.scale[g] | b.min[g] << 4);
  scale_bytes_to_tile(both, 16, r, body, scales);
}
void Format<DType::kQ2_K>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int g = 0; g < 16; ++g) codes2_from_tile(body + codes(g), r, g, b);
  scale_bytes_from_tile(body, 16, r, b.scale, scales);
  for (int g = 0; g < 16; ++g) {
    b.min[g] = b.scale[g] >> 4;
    b.scale[g] &= 15;
  }
}

}  // namespace dodeca::quant
