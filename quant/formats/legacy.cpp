// Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: 32 weights with one f16 scale, the _1 kinds with an f16 offset as well.
#include <algorithm>
#include <cmath>

#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/formats/pack.hpp"

namespace dodeca::quant {
namespace {

void pack_nibbles(const std::uint8_t* l, std::uint8_t* qs) {
  for (int i = 0; i < 16; ++i) qs[i] = static_cast<std::uint8_t>((l[i] & 15) | ((l[i + 16] & 15) << 4));
}
int nibble(const std::uint8_t* qs, int i) { return (qs[i % 16] >> (4 * (i / 16))) & 15; }

void pack_fifth_bits(const std::uint8_t* l, std::uint8_t* qh) {
  std::fill(qh, qh + 4, std::uint8_t{0});
  for (int i = 0; i < kSmallBlock; ++i) qh[i / 8] |= static_cast<std::uint8_t>((l[i] >> 4) << (i % 8));
}
int fifth_bit(const std::uint8_t* qh, int i) { return ((qh[i / 8] >> (i % 8)) & 1) << 4; }

}  // namespace

void decode(const BlockQ4_0& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * static_cast<float>(nibble(block.qs, i) - 8);
}
void decode(const BlockQ4_1& block, float* y) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * static_cast<float>(nibble(block.qs, i)) + m;
}
void decode(const BlockQ5_0& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) {
    y[i] = d * static_cast<float>((nibble(block.qs, i) | fifth_bit(block.qh, i)) - 16);
  }
}
void decode(const BlockQ5_1& block, float* y) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (int i = 0; i < kSmallBlock; ++i) {
    y[i] = d * static_cast<float>(nibble(block.qs, i) | fifth_bit(block.qh, i)) + m;
  }
}
void decode(const BlockQ8_0& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * static_cast<float>(block.qs[i]);
}

void pack(const SmallPieces& pieces, BlockQ4_0& block) {
  block.d = pieces.d;
  pack_nibbles(pieces.levels, block.qs);
}
void pack(const SmallPieces& pieces, BlockQ4_1& block) {
  block.d = pieces.d;
  block.m = pieces.m;
  pack_nibbles(pieces.levels, block.qs);
}
void pack(const SmallPieces& pieces, BlockQ5_0& block) {
  block.d = pieces.d;
  pack_nibbles(pieces.levels, block.qs);
  pack_fifth_bits(pieces.levels, block.qh);
}
void pack(const SmallPieces& pieces, BlockQ5_1& block) {
  block.d = pieces.d;
  block.m = pieces.m;
  pack_nibbles(pieces.levels, block.qs);
  pack_fifth_bits(pieces.levels, block.qh);
}
void pack(const SmallPieces& pieces, BlockQ8_0& block) {
  block.d = pieces.d;
  for (int i = 0; i < kSmallBlock; ++i) block.qs[i] = static_cast<std::int8_t>(pieces.levels[i] - 127);
}

void encode_once(const float* x, BlockQ8_0& block) {
  float largest = 0;
  for (int i = 0; i < kSmallBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float d = largest / 127.0f, inverse = d < 1e-15f ? 0.0f : 1.0f / d;
  block.d = finite_f16(d);
  for (int i = 0; i < kSmallBlock; ++i) block.qs[i] = static_cast<std::int8_t>(std::round(x[i] * inverse));
}

}  // namespace dodeca::quant
