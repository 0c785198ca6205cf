// Q6_K: sub-blocks of 16 weights in 6 bits (-32..31), each with an 8-bit signed scale.
#include "quant/formats/k_types.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 16, kSubs = kSuperBlock / kSub;

// Weight i keeps its low nibble in ql and its two high bits in qh.
constexpr int ql_of(int i) { return 64 * (i / 128) + i % 64; }
constexpr int ql_shift_of(int i) { return 4 * (i % 128 / 64); }
constexpr int qh_of(int i) { return 32 * (i / 128) + i % 32; }
constexpr int qh_shift_of(int i) { return 2 * (i % 128 / 32); }

}  // namespace

void Format<DType::kQ6_K>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(block.scales[sub]);
    for (int i = sub * kSub; i < (sub + 1) * kSub; ++i) {
      const int low = (block.ql[ql_of(i)] >> ql_shift_of(i)) & 15;
      const int high = (block.qh[qh_of(i)] >> qh_shift_of(i)) & 3;
      y[i] = scale * static_cast<float>((low | (high << 4)) - 32);
    }
  }
}

void Format<DType::kQ6_K>::read(const Block& in, RowBlock& out) {
  for (int n = 0; n < 2; ++n) read_nibbles(in.ql + 64 * n, 64, out.code + 128 * n);
  read_2bit<4>(in.qh, out.code);
  std::memcpy(out.scale, in.scales, 16);
  out.d = in.d;
  out.m = 0;
}
void Format<DType::kQ6_K>::write(const RowBlock& in, Block& out) {
  for (int n = 0; n < 2; ++n) write_nibbles(in.code + 128 * n, 64, out.ql + 64 * n);
  write_2bit<4>(in.code, out.qh);
  std::memcpy(out.scales, in.scale, 16);
  out.d = in.d;
}
void Format<DType::kQ6_K>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int g = 0; g < 16; ++g) codes6_to_tile(b, r, g, body + high_bits(g));
  scale_bytes_to_tile(b.scale, 16, r, body, scales);
}
void Format<DType::kQ6_K>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int g = 0; g < 16; ++g) codes6_from_tile(body + high_bits(g), r, g, b);
  scale_bytes_from_tile(body, 16, r, b.scale, scales);
}

}  // namespace dodeca::quant
