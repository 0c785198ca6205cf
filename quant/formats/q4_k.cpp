// Q4_K and Q5_K: sub-blocks of 32 weights in 4 or 5 bits, each with a 6-bit scale and a 6-bit minimum.
#include <cmath>

#include "quant/float_types.hpp"
#include "quant/formats/search.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 32, kSubs = kSuperBlock / kSub, kV = kSub / kLanes;

// Scales and minima share twelve bytes: the first four of each keep six bits in bytes 0-3 and 4-7; the last four keep
// their low four bits in bytes 8-11 and their high two on top of the first four's.
int scale_of(const std::uint8_t* packed, int sub) {
  return sub < 4 ? packed[sub] & 63 : (packed[sub + 4] & 15) | ((packed[sub - 4] >> 6) << 4);
}
int min_of(const std::uint8_t* packed, int sub) {
  return sub < 4 ? packed[sub + 4] & 63 : (packed[sub + 4] >> 4) | ((packed[sub] >> 6) << 4);
}
void pack(const std::uint8_t* scales, const std::uint8_t* mins, std::uint8_t* packed) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = static_cast<std::uint8_t>(scales[j] | ((scales[j + 4] >> 4) << 6));
    packed[j + 4] = static_cast<std::uint8_t>(mins[j] | ((mins[j + 4] >> 4) << 6));
    packed[j + 8] = static_cast<std::uint8_t>((scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4));
  }
}

// The two low-order fields of a block and its levels, shared by both formats.
struct Quantized {
  std::uint16_t d, dmin;
  std::uint8_t scales[12];
  std::uint8_t levels[kSuperBlock];
};

void quantize(const float* x, const Weighting& weighting, float levels, const AffineTrials& plain_trials,
              Quantized& out) {
  float scales[kSubs], mins[kSubs], weights[kSubs];
  float mean_square = 0;
  if (weighting.importance) {
    Lanes all[kSuperBlock / kLanes];
    load_group(x, all);
    mean_square = 2 * weighted_squares(all) / kSuperBlock;
  }
  for (int sub = 0; sub < kSubs; ++sub) {
    Group<kV> group;
    load_group(x + sub * kSub, group.x);
    AffineTrials trials = plain_trials;
    if (weighting.importance) {
      importance_weights(weighting.importance + sub * kSub, mean_square, group);
      trials = {-0.9f, 0.05f, 36};
    } else {
      const float rms = std::sqrt(weighted_squares(group.x) / kSub);
      for (int v = 0; v < kV; ++v) group.w[v] = absolute(group.x[v]) + rms;
    }
    const AffineFit fit = affine_fit(group, levels, trials);
    scales[sub] = fit.scale;
    mins[sub] = fit.min;
    weights[sub] = sum((group.w[0] + group.w[1]) + (group.w[2] + group.w[3]));
  }

  std::uint8_t scale_levels[kSubs], min_levels[kSubs];
  if (weighting.importance) {
    out.d = finite_f16(positive_levels(kSubs, 63, scales, weights, scale_levels));
    out.dmin = finite_f16(positive_levels(kSubs, 63, mins, weights, min_levels));
  } else {
    out.d = finite_f16(levels_by_largest(kSubs, 63, scales, scale_levels));
    out.dmin = finite_f16(levels_by_largest(kSubs, 63, mins, min_levels));
  }
  pack(scale_levels, min_levels, out.scales);

  const float d = f16_to_f32(out.d), dmin = f16_to_f32(out.dmin);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * scale_levels[sub], min = dmin * min_levels[sub];
    const float inverse = scale == 0 ? 0 : 1.0f / scale;
    for (int i = sub * kSub; i < (sub + 1) * kSub; ++i) {
      out.levels[i] = static_cast<std::uint8_t>(round_clamped((x[i] + min) * inverse, 0, levels));
    }
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

void encode(const float* x, BlockQ4_K& block, const Weighting& weighting) {
  Quantized quantized;
  quantize(x, weighting, 15, {-1.0f, 0.1f, 20}, quantized);
  block.d = quantized.d;
  block.dmin = quantized.dmin;
  std::memcpy(block.scales, quantized.scales, sizeof block.scales);
  for (int i = 0; i < kSuperBlock / 2; ++i) {
    const std::uint8_t* pair = quantized.levels + 64 * (i / 32) + i % 32;
    block.qs[i] = static_cast<std::uint8_t>(pair[0] | (pair[32] << 4));
  }
}

void encode(const float* x, BlockQ5_K& block, const Weighting& weighting) {
  Quantized quantized;
  quantize(x, weighting, 31, {-0.5f, 0.1f, 15}, quantized);
  block.d = quantized.d;
  block.dmin = quantized.dmin;
  std::memcpy(block.scales, quantized.scales, sizeof block.scales);
  for (int i = 0; i < kSuperBlock / 2; ++i) {
    const std::uint8_t* pair = quantized.levels + 64 * (i / 32) + i % 32;
    block.qs[i] = static_cast<std::uint8_t>((pair[0] & 15) | ((pair[32] & 15) << 4));
  }
  for (int i = 0; i < kSub; ++i) {
    unsigned high = 0;
    for (int sub = 0; sub < kSubs; ++sub) high |= static_cast<unsigned>(quantized.levels[sub * kSub + i] >> 4) << sub;
    block.qh[i] = static_cast<std::uint8_t>(high);
  }
}

}  // namespace dodeca::quant
