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
  for (int n = 0; n < 2; ++n) {
    std::uint8_t* code = out.code + 128 * n;
    read_nibbles(in.ql + 64 * n, 64, code);
    for (int l = 0; l < 32; l += 8) {
      const std::uint64_t high = eight_bytes(in.qh + 32 * n + l);
      for (int j = 0; j < 4; ++j) {
        set_eight_bytes(code + 32 * j + l, eight_bytes(code + 32 * j + l) | (high >> 2 * j & kEightThrees) << 4);
      }
    }
  }
  std::memcpy(out.scale, in.scales, 16);
  out.d = in.d;
  out.m = 0;
}
void Format<DType::kQ6_K>::write(const RowBlock& in, Block& out) {
  for (int n = 0; n < 2; ++n) {
    const std::uint8_t* code = in.code + 128 * n;
    write_nibbles(code, 64, out.ql + 64 * n);
    for (int l = 0; l < 32; l += 8) {
      std::uint64_t high = 0;
      for (int j = 0; j < 4; ++j) high |= (eight_bytes(code + 32 * j + l) >> 4 & kEightThrees) << 2 * j;
      set_eight_bytes(out.qh + 32 * n + l, high);
    }
  }
  std::memcpy(out.scales, in.scale, 16);
  out.d = in.d;
}
void Format<DType::kQ6_K>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int g = 0; g < 16; ++g) {
    std::uint32_t plane = 0;
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t even = unit(b, 4 * g + 2 * i), odd = unit(b, 4 * g + 2 * i + 1);
      put(body + codes(2 * g + i), 0, r, (even & kNibbles) | ((odd >> 2) & kNibbles) << 4);
      plane |= ((even >> 4) & kThrees) << 4 * i | (odd & kThrees) << (4 * i + 2);
    }
    put(body + high_bits(g), 0, r, plane);
  }
  scale_bytes_to_tile(b.scale, 16, r, body, scales);
}
void Format<DType::kQ6_K>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int g = 0; g < 16; ++g) {
    const std::uint32_t plane = get(body + high_bits(g), 0, r);
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t lane = get(body + codes(2 * g + i), 0, r);
      set_unit(b, 4 * g + 2 * i, (lane & kNibbles) | ((plane >> 4 * i) & kThrees) << 4);
      set_unit(b, 4 * g + 2 * i + 1, ((lane >> 4) & kNibbles) << 2 | ((plane >> (4 * i + 2)) & kThrees));
    }
  }
  scale_bytes_from_tile(body, 16, r, b.scale, scales);
}

}  // namespace dodeca::quant
