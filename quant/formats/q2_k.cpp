// Q2_K: sub-blocks of 16 weights in 2 bits, each with a 4-bit scale and a 4-bit minimum.
#include "quant/float_types.hpp"
#include "quant/formats/search.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 16, kSubs = kSuperBlock / kSub, kV = kSub / kLanes;

// Where weight i keeps its two bits.
constexpr int byte_of(int i) { return 32 * (i / 128) + i % 32; }
constexpr int shift_of(int i) { return 2 * (i % 128 / 32); }

}  // namespace

void decode(const BlockQ2_K& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(block.scales[sub] & 15);
    const float min = dmin * static_cast<float>(block.scales[sub] >> 4);
    const int first = sub * kSub;
    const std::uint8_t* qs = block.qs + byte_of(first);
    for (int i = 0; i < kSub; ++i) {
      y[first + i] = scale * static_cast<float>((qs[i] >> shift_of(first)) & 3) - min;
    }
  }
}

void encode(const float* x, BlockQ2_K& block, const Weighting& weighting) {
  float scales[kSubs], mins[kSubs], weights[kSubs];
  float mean_square = 0;
  if (weighting.importance) {
    Lanes all[kSuperBlock / kLanes];
    load_group(x, all);
    mean_square = weighted_squares(all) / kSuperBlock;
  }
  for (int sub = 0; sub < kSubs; ++sub) {
    Group<kV> group;
    load_group(x + sub * kSub, group.x);
    AffineTrials trials{-0.5f, 0.1f, 15, true};
    if (weighting.importance) {
      importance_weights(weighting.importance + sub * kSub, mean_square, group);
      trials = {-0.9f, 0.05f, 36};
    } else {
      for (int v = 0; v < kV; ++v) group.w[v] = absolute(group.x[v]);
    }
    const AffineFit fit = affine_fit(group, 3, trials);
    scales[sub] = fit.scale;
    mins[sub] = fit.min;
    weights[sub] = sum(group.w[0] + group.w[1]);
  }

  std::uint8_t scale_levels[kSubs], min_levels[kSubs];
  if (weighting.importance) {
    block.d = finite_f16(positive_levels(kSubs, 15, scales, weights, scale_levels));
    block.dmin = finite_f16(positive_levels(kSubs, 15, mins, weights, min_levels));
  } else {
    block.d = finite_f16(levels_by_largest(kSubs, 15, scales, scale_levels));
    block.dmin = finite_f16(levels_by_largest(kSubs, 15, mins, min_levels));
  }

  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (auto& byte : block.qs) byte = 0;
  for (int sub = 0; sub < kSubs; ++sub) {
    block.scales[sub] = static_cast<std::uint8_t>(scale_levels[sub] | (min_levels[sub] << 4));
    const float scale = d * scale_levels[sub], min = dmin * min_levels[sub];
    if (scale == 0) continue;
    const float inverse = 1.0f / scale;
    const int first = sub * kSub;
    for (int i = 0; i < kSub; ++i) {
      const auto q = static_cast<unsigned>(round_clamped((x[first + i] + min) * inverse, 0, 3));
      block.qs[byte_of(first) + i] |= static_cast<std::uint8_t>(q << shift_of(first));
    }
  }
}

}  // namespace dodeca::quant
