// Q4_0, Q4_1, Q5_0, Q5_1, Q6_0, Q8_0: 32 weights with one f16 scale, the _1 kinds with an f16 offset as well.
#include "quant/formats/legacy.hpp"

#include <algorithm>
#include <cmath>

namespace dodeca::quant {
namespace {

int nibble(const std::uint8_t* qs, int i) { return (qs[i % 16] >> (4 * (i / 16))) & 15; }

int fifth_bit(const std::uint8_t* qh, int i) { return ((qh[i / 8] >> (i % 8)) & 1) << 4; }

// The fifth bit of column i is bit i of a little-endian word. Eight bits at a time: multiplying spreads a byte over
// eight so that bit j of byte j can be kept, and gathers them again.
void read_fifth(const std::uint8_t* qh, std::uint8_t* code) {
  for (int i = 0; i < 4; ++i) {
    std::uint64_t eight;
    std::memcpy(&eight, code + 8 * i, 8);
    const std::uint64_t picked = (qh[i] * 0x0101010101010101ull) & 0x8040201008040201ull;
    eight |= (((picked + 0x7f7f7f7f7f7f7f7full) >> 7) & 0x0101010101010101ull) << 4;
    std::memcpy(code + 8 * i, &eight, 8);
  }
}
void write_fifth(const std::uint8_t* code, std::uint8_t* qh) {
  for (int i = 0; i < 4; ++i) {
    std::uint64_t eight;
    std::memcpy(&eight, code + 8 * i, 8);
    qh[i] = static_cast<std::uint8_t>(((eight >> 4 & 0x0101010101010101ull) * 0x0102040810204080ull) >> 56);
  }
}

// Which eight weights of Q6_0 have their upper bits at bits 2j.
constexpr int kSixthOrder[4] = {0, 2, 1, 3};

}  // namespace

void Format<DType::kQ4_0>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * static_cast<float>(nibble(block.qs, i) - 8);
}
void Format<DType::kQ4_1>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * static_cast<float>(nibble(block.qs, i)) + m;
}
void Format<DType::kQ5_0>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) {
    y[i] = d * static_cast<float>((nibble(block.qs, i) | fifth_bit(block.qh, i)) - 16);
  }
}
void Format<DType::kQ5_1>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (int i = 0; i < kSmallBlock; ++i) {
    y[i] = d * static_cast<float>(nibble(block.qs, i) | fifth_bit(block.qh, i)) + m;
  }
}
void Format<DType::kQ6_0>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) {
    const int high = block.qh[i % 8] >> (4 * (i % 16 / 8) + 2 * (i / 16)) & 3;
    y[i] = d * static_cast<float>((nibble(block.qs, i) | high << 4) - 32);
  }
}
void Format<DType::kQ8_0>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * static_cast<float>(block.qs[i]);
}
void Format<DType::kQ8_0>::encode_once(const float* x, Block& block) {
  float largest = 0;
  for (int i = 0; i < kSmallBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float d = largest / 127.0f, inverse = d < 1e-15f ? 0.0f : 1.0f / d;
  block.d = finite_f16(d);
  for (int i = 0; i < kSmallBlock; ++i) block.qs[i] = static_cast<std::int8_t>(std::round(x[i] * inverse));
}

void Format<DType::kQ4_0>::read(const Block& in, RowBlock& out) {
  read_nibbles(in.qs, 16, out.code);
  out.d = in.d;
  out.m = 0;
}
void Format<DType::kQ4_0>::write(const RowBlock& in, Block& out) {
  write_nibbles(in.code, 16, out.qs);
  out.d = in.d;
}

void Format<DType::kQ4_1>::read(const Block& in, RowBlock& out) {
  read_nibbles(in.qs, 16, out.code);
  out.d = in.d;
  out.m = in.m;
}
void Format<DType::kQ4_1>::write(const RowBlock& in, Block& out) {
  write_nibbles(in.code, 16, out.qs);
  out.d = in.d;
  out.m = in.m;
}

void Format<DType::kQ5_0>::read(const Block& in, RowBlock& out) {
  read_nibbles(in.qs, 16, out.code);
  read_fifth(in.qh, out.code);
  out.d = in.d;
  out.m = 0;
}
void Format<DType::kQ5_0>::write(const RowBlock& in, Block& out) {
  write_nibbles(in.code, 16, out.qs);
  write_fifth(in.code, out.qh);
  out.d = in.d;
}

void Format<DType::kQ5_1>::read(const Block& in, RowBlock& out) {
  read_nibbles(in.qs, 16, out.code);
  read_fifth(in.qh, out.code);
  out.d = in.d;
  out.m = in.m;
}
void Format<DType::kQ5_1>::write(const RowBlock& in, Block& out) {
  write_nibbles(in.code, 16, out.qs);
  write_fifth(in.code, out.qh);
  out.d = in.d;
  out.m = in.m;
}

void Format<DType::kQ6_0>::read(const Block& in, RowBlock& out) {
  read_nibbles(in.qs, 16, out.code);
  const std::uint64_t high = eight_bytes(in.qh);
  for (int j = 0; j < 4; ++j) {
    std::uint8_t* at = out.code + 8 * kSixthOrder[j];
    set_eight_bytes(at, eight_bytes(at) | (high >> 2 * j & kEightThrees) << 4);
  }
  out.d = in.d;
  out.m = 0;
}
void Format<DType::kQ6_0>::write(const RowBlock& in, Block& out) {
  write_nibbles(in.code, 16, out.qs);
  std::uint64_t high = 0;
  for (int j = 0; j < 4; ++j) high |= (eight_bytes(in.code + 8 * kSixthOrder[j]) >> 4 & kEightThrees) << 2 * j;
  set_eight_bytes(out.qh, high);
  out.d = in.d;
}

void Format<DType::kQ8_0>::read(const Block& in, RowBlock& out) {
  std::memcpy(out.code, in.qs, 32);
  out.d = in.d;
  out.m = 0;
}
void Format<DType::kQ8_0>::write(const RowBlock& in, Block& out) {
  std::memcpy(out.qs, in.code, 32);
  out.d = in.d;
}
void Format<DType::kQ8_0>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int u = 0; u < 8; ++u) put(body, u, r, unit(b, u) ^ 0x80808080u);
}
void Format<DType::kQ8_0>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int u = 0; u < 8; ++u) set_unit(b, u, get(body, u, r) ^ 0x80808080u);
}

}  // namespace dodeca::quant
