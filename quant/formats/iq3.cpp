// IQ3_XXS and IQ3_S: lattice points of four magnitudes, two to a byte of signs.
#include <cstring>

#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/formats/pack.hpp"
#include "quant/iq_grids.hpp"

namespace dodeca::quant {
namespace {

// signs: the byte of the eight weights that this point is half of.
void put_group(const std::int8_t* point, unsigned signs, int half, float scale, float* y) {
  for (int j = 0; j < 4; ++j) {
    const float value = scale * static_cast<float>(point[j]);
    y[j] = (signs >> (4 * half + j)) & 1 ? -value : value;
  }
}

}  // namespace

void decode(const BlockIQ3_XXS& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    std::uint32_t word;
    std::memcpy(&word, block.scales_signs + 4 * ib, sizeof word);
    const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
    for (int k = 0; k < 8; ++k) {
      const std::uint8_t signs = sign_byte((word >> (7 * (k / 2))) & 127);
      put_group(kIq3xxsGrid[block.qs[8 * ib + k]], signs, k % 2, scale, y + 32 * ib + 4 * k);
    }
  }
}

void decode(const BlockIQ3_S& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const unsigned s = (block.scales[ib / 2] >> (4 * (ib % 2))) & 15;
    const float scale = d * static_cast<float>(1 + 2 * s);
    for (int k = 0; k < 8; ++k) {
      const unsigned index = block.qs[8 * ib + k] | (((block.qh[ib] >> k) & 1u) << 8);
      put_group(kIq3sGrid[index], block.signs[4 * ib + k / 2], k % 2, scale, y + 32 * ib + 4 * k);
    }
  }
}

void pack(const LatticePieces<8, 64>& pieces, BlockIQ3_XXS& block) {
  block.d = pieces.d;
  for (int g = 0; g < 64; ++g) block.qs[g] = static_cast<std::uint8_t>(pieces.points[g]);
  for (int ib = 0; ib < 8; ++ib) {
    std::uint32_t word = static_cast<std::uint32_t>(pieces.scales[ib]) << 28;
    for (int k = 0; k < 4; ++k) word |= static_cast<std::uint32_t>(pieces.signs[4 * ib + k] & 127) << (7 * k);
    std::memcpy(block.scales_signs + 4 * ib, &word, sizeof word);
  }
}

void pack(const LatticePieces<8, 64>& pieces, BlockIQ3_S& block) {
  block = {};
  block.d = pieces.d;
  for (int g = 0; g < 64; ++g) {
    block.qs[g] = static_cast<std::uint8_t>(pieces.points[g]);
    block.qh[g / 8] |= static_cast<std::uint8_t>((pieces.points[g] >> 8) << (g % 8));
  }
  for (int k = 0; k < 32; ++k) block.signs[k] = pieces.signs[k];
  for (int ib = 0; ib < 8; ++ib) {
    block.scales[ib / 2] |= static_cast<std::uint8_t>(pieces.scales[ib] << (4 * (ib % 2)));
  }
}

}  // namespace dodeca::quant
