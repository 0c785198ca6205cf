// IQ2_XXS, IQ2_XS, IQ2_S: lattice points of eight magnitudes with signs beside them.
#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/formats/pack.hpp"
#include "quant/iq_grids.hpp"

namespace dodeca::quant {
namespace {

void put_group(const std::int8_t* point, unsigned signs, float scale, float* y) {
  for (int j = 0; j < 8; ++j) {
    const float value = scale * static_cast<float>(point[j]);
    y[j] = (signs >> j) & 1 ? -value : value;
  }
}

float scale_of(float d, unsigned s) { return d * (0.5f + static_cast<float>(s)) * 0.25f; }

}  // namespace

void decode(const BlockIQ2_XXS& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint16_t* q = block.qs + 4 * ib;
    const std::uint32_t indices = q[0] | (static_cast<std::uint32_t>(q[1]) << 16);
    const std::uint32_t rest = q[2] | (static_cast<std::uint32_t>(q[3]) << 16);
    const float scale = scale_of(d, rest >> 28);
    for (int g = 0; g < 4; ++g) {
      put_group(kIq2xxsGrid[(indices >> (8 * g)) & 255], sign_byte((rest >> (7 * g)) & 127), scale,
                y + 32 * ib + 8 * g);
    }
  }
}

void decode(const BlockIQ2_XS& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    for (int g = 0; g < 4; ++g) {
      const unsigned v = block.qs[4 * ib + g];
      const float scale = scale_of(d, (block.scales[ib] >> (4 * (g / 2))) & 15);
      put_group(kIq2xsGrid[v & 511], sign_byte(v >> 9), scale, y + 32 * ib + 8 * g);
    }
  }
}

void decode(const BlockIQ2_S& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    for (int g = 0; g < 4; ++g) {
      const int t = 4 * ib + g;
      const unsigned index = block.qs[t] | (((block.qh[ib] >> (2 * g)) & 3u) << 8);
      const float scale = scale_of(d, (block.scales[ib] >> (4 * (g / 2))) & 15);
      put_group(kIq2sGrid[index], block.signs[t], scale, y + 8 * t);
    }
  }
}

void pack(const LatticePieces<8, 32>& pieces, BlockIQ2_XXS& block) {
  block.d = pieces.d;
  for (int ib = 0; ib < 8; ++ib) {
    std::uint32_t indices = 0, rest = static_cast<std::uint32_t>(pieces.scales[ib]) << 28;
    for (int g = 0; g < 4; ++g) {
      indices |= static_cast<std::uint32_t>(pieces.points[4 * ib + g]) << (8 * g);
      rest |= static_cast<std::uint32_t>(pieces.signs[4 * ib + g] & 127) << (7 * g);
    }
    std::uint16_t* q = block.qs + 4 * ib;
    q[0] = static_cast<std::uint16_t>(indices);
    q[1] = static_cast<std::uint16_t>(indices >> 16);
    q[2] = static_cast<std::uint16_t>(rest);
    q[3] = static_cast<std::uint16_t>(rest >> 16);
  }
}

void pack(const LatticePieces<16, 32>& pieces, BlockIQ2_XS& block) {
  block.d = pieces.d;
  for (int t = 0; t < 32; ++t) {
    block.qs[t] = static_cast<std::uint16_t>(pieces.points[t] | ((pieces.signs[t] & 127) << 9));
  }
  for (int ib = 0; ib < 8; ++ib) {
    block.scales[ib] = static_cast<std::uint8_t>(pieces.scales[2 * ib] | (pieces.scales[2 * ib + 1] << 4));
  }
}

void pack(const LatticePieces<16, 32>& pieces, BlockIQ2_S& block) {
  block = {};
  block.d = pieces.d;
  for (int t = 0; t < 32; ++t) {
    block.qs[t] = static_cast<std::uint8_t>(pieces.points[t]);
    block.qh[t / 4] |= static_cast<std::uint8_t>((pieces.points[t] >> 8) << (2 * (t % 4)));
    block.signs[t] = pieces.signs[t];
  }
  for (int ib = 0; ib < 8; ++ib) {
    block.scales[ib] = static_cast<std::uint8_t>(pieces.scales[2 * ib] | (pieces.scales[2 * ib + 1] << 4));
  }
}

}  // namespace dodeca::quant
