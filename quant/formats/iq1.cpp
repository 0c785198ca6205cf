// IQ1_S and IQ1_M: ternary lattice points of eight weights, shifted by an eighth up or down.
#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/formats/pack.hpp"
#include "quant/iq_grids.hpp"

namespace dodeca::quant {
namespace {

constexpr float kDelta = 0.125f;

void put_group(std::uint32_t index, float scale, float delta, float* y) {
  const std::int8_t* point = kIq1sGrid[index];
  for (int j = 0; j < 8; ++j) y[j] = scale * (static_cast<float>(point[j]) + delta);
}

}  // namespace

void decode(const BlockIQ1_S& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const unsigned high = block.qh[ib];
    const float scale = d * static_cast<float>(2 * ((high >> 12) & 7) + 1);
    const float delta = high & 0x8000u ? -kDelta : kDelta;
    for (int g = 0; g < 4; ++g) {
      put_group(block.qs[4 * ib + g] | (((high >> (3 * g)) & 7) << 8), scale, delta, y + 32 * ib + 8 * g);
    }
  }
}

void decode(const BlockIQ1_M& block, float* y) {
  unsigned d_bits = 0;
  for (int k = 0; k < 4; ++k) d_bits |= static_cast<unsigned>(block.scales[k] >> 12) << (4 * k);
  const float d = f16_to_f32(static_cast<std::uint16_t>(d_bits));
  for (int ib = 0; ib < 8; ++ib) {
    for (int g = 0; g < 4; ++g) {
      const unsigned s = (block.scales[ib / 2] >> (6 * (ib % 2) + 3 * (g / 2))) & 7;
      const unsigned high = (block.qh[2 * ib + g / 2] >> (4 * (g % 2))) & 15;
      put_group(block.qs[4 * ib + g] | ((high & 7) << 8), d * static_cast<float>(2 * s + 1),
                high & 8 ? -kDelta : kDelta, y + 32 * ib + 8 * g);
    }
  }
}

void pack(const TernaryPieces<8>& pieces, BlockIQ1_S& block) {
  block.d = pieces.d;
  for (int ib = 0; ib < 8; ++ib) {
    unsigned high = static_cast<unsigned>(pieces.scales[ib]) << 12 | ((pieces.down >> (4 * ib)) & 1) << 15;
    for (int g = 0; g < 4; ++g) {
      const unsigned point = pieces.points[4 * ib + g];
      block.qs[4 * ib + g] = static_cast<std::uint8_t>(point);
      high |= (point >> 8) << (3 * g);
    }
    block.qh[ib] = static_cast<std::uint16_t>(high);
  }
}

void pack(const TernaryPieces<16>& pieces, BlockIQ1_M& block) {
  block = {};
  for (int k = 0; k < 4; ++k) {
    unsigned bits = static_cast<unsigned>((pieces.d >> (4 * k)) & 15) << 12;
    for (int i = 0; i < 4; ++i) bits |= static_cast<unsigned>(pieces.scales[4 * k + i]) << (3 * i);
    block.scales[k] = static_cast<std::uint16_t>(bits);
  }
  for (int t = 0; t < 32; ++t) {
    const unsigned point = pieces.points[t];
    block.qs[t] = static_cast<std::uint8_t>(point);
    block.qh[t / 2] |= static_cast<std::uint8_t>((point >> 8 | ((pieces.down >> t) & 1) << 3) << (4 * (t % 2)));
  }
}

}  // namespace dodeca::quant
