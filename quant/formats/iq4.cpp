// Four-bit tables: IQ4_NL, IQ4_XS (values denser around zero) and MXFP4 (E2M1 floats under a power-of-two scale).
#include "quant/encode/levels.hpp"
#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/formats/pack.hpp"

namespace dodeca::quant {
namespace {

constexpr float kDoubledE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

int nibble(const std::uint8_t* qs, int i) { return (qs[i % 16] >> (4 * (i / 16))) & 15; }

}  // namespace

void decode(const BlockIQ4_NL& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * kIq4Values[nibble(block.qs, i)];
}

void decode(const BlockIQ4_XS& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const int low = (block.scales_l[ib / 2] >> (4 * (ib % 2))) & 15;
    const int high = (block.scales_h >> (2 * ib)) & 3;
    const float scale = d * static_cast<float>((low | (high << 4)) - 32);
    for (int i = 0; i < 32; ++i) y[32 * ib + i] = scale * kIq4Values[nibble(block.qs + 16 * ib, i)];
  }
}

void decode(const BlockMXFP4& block, float* y) {
  const float d = e8m0_half_to_f32(block.e);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * kDoubledE2M1[nibble(block.qs, i)];
}

void pack(const SmallPieces& pieces, BlockIQ4_NL& block) {
  block.d = pieces.d;
  for (int i = 0; i < 16; ++i) block.qs[i] = static_cast<std::uint8_t>(pieces.levels[i] | (pieces.levels[i + 16] << 4));
}

void pack(const SymmetricPieces<8>& pieces, BlockIQ4_XS& block) {
  block = {};
  block.d = pieces.d;
  for (int ib = 0; ib < 8; ++ib) {
    const int stored = pieces.scales[ib] + 32;
    block.scales_l[ib / 2] |= static_cast<std::uint8_t>((stored & 15) << (4 * (ib % 2)));
    block.scales_h = static_cast<std::uint16_t>(block.scales_h | ((stored >> 4) << (2 * ib)));
    const std::uint8_t* l = pieces.levels + 32 * ib;
    for (int i = 0; i < 16; ++i) block.qs[16 * ib + i] = static_cast<std::uint8_t>(l[i] | (l[i + 16] << 4));
  }
}

}  // namespace dodeca::quant
