// Q4_K and Q5_K: sub-blocks of 32 weights in 4 or 5 bits, each with a 6-bit scale and a 6-bit minimum.
#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/formats/pack.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 32, kSubs = kSuperBlock / kSub;

// Scales and minima share twelve bytes: the first four of each keep six bits in bytes 0-3 and 4-7; the last four keep
// their low four bits in bytes 8-11 and their high two on top of the first four's.
int scale_of(const std::uint8_t* packed, int sub) {
  return sub < 4 ? packed[sub] & 63 : (packed[sub + 4] & 15) | ((packed[sub - 4] >> 6) << 4);
}
int min_of(const std::uint8_t* packed, int sub) {
  return sub < 4 ? packed[sub + 4] & 63 : (packed[sub + 4] >> 4) | ((packed[sub] >> 6) << 4);
}
void pack_scales(const std::uint8_t* scales, const std::uint8_t* mins, std::uint8_t* packed) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = static_cast<std::uint8_t>(scales[j] | ((scales[j + 4] >> 4) << 6));
    packed[j + 4] = static_cast<std::uint8_t>(mins[j] | ((mins[j + 4] >> 4) << 6));
    packed[j + 8] = static_cast<std::uint8_t>((scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4));
  }
}

// What both formats have alike, and the low four bits of the levels.
template <class Block>
void pack_common(const AffinePieces<8>& pieces, Block& block) {
  block.d = pieces.d;
  block.dmin = pieces.dmin;
  pack_scales(pieces.scales, pieces.mins, block.scales);
  for (int i = 0; i < kSuperBlock / 2; ++i) {
    const std::uint8_t* pair = pieces.levels + 64 * (i / 32) + i % 32;
    block.qs[i] = static_cast<std::uint8_t>((pair[0] & 15) | ((pair[32] & 15) << 4));
  }
}

}  // namespace

void decode(const BlockQ4_K& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(scale_of(block.scales, sub));
    const float min = dmin * static_cast<float>(min_of(block.scales, sub));
    const std::uint8_t* qs = block.qs + 32 * (sub / 2);
    const int shift = 4 * (sub % 2);
    for (int i = 0; i < kSub; ++i) y[sub * kSub + i] = scale * static_cast<float>((qs[i] >> shift) & 15) - min;
  }
}

void decode(const BlockQ5_K& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(scale_of(block.scales, sub));
    const float min = dmin * static_cast<float>(min_of(block.scales, sub));
    const std::uint8_t* qs = block.qs + 32 * (sub / 2);
    const int shift = 4 * (sub % 2);
    for (int i = 0; i < kSub; ++i) {
      const int q = ((qs[i] >> shift) & 15) | (((block.qh[i] >> sub) & 1) << 4);
      y[sub * kSub + i] = scale * static_cast<float>(q) - min;
    }
  }
}

void pack(const AffinePieces<8>& pieces, BlockQ4_K& block) { pack_common(pieces, block); }

void pack(const AffinePieces<8>& pieces, BlockQ5_K& block) {
  pack_common(pieces, block);
  for (int i = 0; i < kSub; ++i) {
    unsigned high = 0;
    for (int sub = 0; sub < kSubs; ++sub) high |= static_cast<unsigned>(pieces.levels[sub * kSub + i] >> 4) << sub;
    block.qh[i] = static_cast<std::uint8_t>(high);
  }
}

}  // namespace dodeca::quant
