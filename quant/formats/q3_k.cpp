// Q3_K: sub-blocks of 16 weights in 3 bits (-4..3), each with a 6-bit signed scale.
#include <cmath>

#include "quant/float_types.hpp"
#include "quant/formats/search.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 16, kSubs = kSuperBlock / kSub, kV = kSub / kLanes;

constexpr int byte_of(int i) { return 32 * (i / 128) + i % 32; }  // the two low bits
constexpr int shift_of(int i) { return 2 * (i % 128 / 32); }
constexpr int mask_bit_of(int i) { return i / 32; }  // the high bit, in hmask[i % 32]

int scale_of(const BlockQ3_K& block, int sub) {
  const int low = sub < 8 ? block.scales[sub] & 15 : block.scales[sub - 8] >> 4;
  const int high = (block.scales[8 + sub % 4] >> (2 * (sub / 4))) & 3;
  return (low | (high << 4)) - 32;
}

void set_scale(BlockQ3_K& block, int sub, int scale) {
  const int stored = scale + 32;
  block.scales[sub % 8] |= static_cast<std::uint8_t>((stored & 15) << (sub < 8 ? 0 : 4));
  block.scales[8 + sub % 4] |= static_cast<std::uint8_t>((stored >> 4) << (2 * (sub / 4)));
}

}  // namespace

void decode(const BlockQ3_K& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(scale_of(block, sub));
    const int first = sub * kSub;
    for (int i = first; i < first + kSub; ++i) {
      const int low = (block.qs[byte_of(i)] >> shift_of(i)) & 3;
      const int high = (block.hmask[i % 32] >> mask_bit_of(i)) & 1;
      y[i] = scale * static_cast<float>(low - (high ? 0 : 4));
    }
  }
}

void encode(const float* x, BlockQ3_K& block, const Weighting& weighting) {
  block = {};
  float scales[kSubs], weights[kSubs];
  float mean_square = 0;
  if (weighting.importance) {
    Lanes all[kSuperBlock / kLanes];
    load_group(x, all);
    mean_square = 2 * weighted_squares(all) / kSuperBlock;
  }
  for (int sub = 0; sub < kSubs; ++sub) {
    Group<kV> group;
    load_group(x + sub * kSub, group.x);
    if (weighting.importance) {
      importance_weights(weighting.importance + sub * kSub, mean_square, group);
    } else {
      const float mean = weighted_squares(group.x) / kSub;
      for (int v = 0; v < kV; ++v) group.w[v] = group.x[v] * group.x[v] + mean;
    }
    scales[sub] = symmetric_scale(group, 4);
    weights[sub] = sum(group.w[0] + group.w[1]);
  }

  float step;
  if (weighting.importance) {
    Group<kV> all;
    load_group(scales, all.x);
    load_group(weights, all.w);
    step = symmetric_scale(all, 32);
  } else {
    Lanes all[kV];
    load_group(scales, all);
    step = -extremes(all).signed_max() / 32;
  }
  block.d = finite_f16(step);
  const float inverse_step = std::fabs(step) < kNegligible ? 0 : 1.0f / step;
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float level = round_clamped(inverse_step * scales[sub], -32, 31);
    set_scale(block, sub, static_cast<int>(level));
    const float scale = d * level;
    const float inverse = scale == 0 ? 0 : 1.0f / scale;
    for (int i = sub * kSub; i < (sub + 1) * kSub; ++i) {
      const int q = static_cast<int>(round_clamped(x[i] * inverse, -4, 3)) + 4;
      block.qs[byte_of(i)] |= static_cast<std::uint8_t>((q & 3) << shift_of(i));
      block.hmask[i % 32] |= static_cast<std::uint8_t>((q >> 2) << mask_bit_of(i));
    }
  }
}

}  // namespace dodeca::quant
