// Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: 32 weights with one f16 scale, the _1 kinds with an f16 offset as well.
// Without importance, encoding is the one-shot rounding that these formats are known by; with it, the searches of the K
// types.
#include <algorithm>
#include <cmath>

#include "quant/float_types.hpp"
#include "quant/formats/search.hpp"

namespace dodeca::quant {
namespace {

constexpr int kV = kSmallBlock / kLanes;

float signed_extreme(const float* x) {
  float extreme = 0;
  for (int i = 0; i < kSmallBlock; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

float inverse_or_zero(float d) { return std::fabs(d) < kNegligible ? 0 : 1.0f / d; }

// Levels of x / d + offset: for the one-shot encoders `offset` carries the half that makes truncation a rounding.
void truncate_levels(const float* x, float shift, float inverse, float offset, int levels, std::uint8_t* l) {
  for (int i = 0; i < kSmallBlock; ++i) {
    const float level = (x[i] - shift) * inverse + offset;
    l[i] = static_cast<std::uint8_t>(std::clamp(static_cast<int>(level), 0, levels));
  }
}

void round_levels(const float* x, float shift, float inverse, float offset, int levels, std::uint8_t* l) {
  for (int i = 0; i < kSmallBlock; ++i) {
    l[i] = static_cast<std::uint8_t>(round_clamped((x[i] - shift) * inverse + offset, 0, static_cast<float>(levels)));
  }
}

Group<kV> weighted_group(const float* x, const Weighting& weighting) {
  Group<kV> group;
  load_group(x, group.x);
  importance_weights(weighting.importance, weighting.row_mean_square, group);
  return group;
}

// Symmetric kinds: levels 0..2*half-1 stand for -half..half-1. Returns the f16 scale.
std::uint16_t symmetric_levels(const float* x, const Weighting& weighting, int half, std::uint8_t* l) {
  if (weighting.importance) {
    const std::uint16_t d = finite_f16(symmetric_scale(weighted_group(x, weighting), static_cast<float>(half)));
    round_levels(x, 0, inverse_or_zero(f16_to_f32(d)), static_cast<float>(half), 2 * half - 1, l);
    return d;
  }
  const float d = signed_extreme(x) / static_cast<float>(-half);
  truncate_levels(x, 0, inverse_or_zero(d), static_cast<float>(half) + 0.5f, 2 * half - 1, l);
  return finite_f16(d);
}

struct ScaleOffset {
  std::uint16_t d, m;
};
ScaleOffset affine_levels(const float* x, const Weighting& weighting, int levels, std::uint8_t* l) {
  if (weighting.importance) {
    const AffineFit fit = affine_fit(weighted_group(x, weighting), static_cast<float>(levels), {-0.9f, 0.05f, 36});
    const ScaleOffset result{finite_f16(fit.scale), finite_f16(-fit.min)};
    round_levels(x, f16_to_f32(result.m), inverse_or_zero(f16_to_f32(result.d)), 0, levels, l);
    return result;
  }
  const auto [low, high] = std::minmax_element(x, x + kSmallBlock);
  const float d = (*high - *low) / static_cast<float>(levels);
  truncate_levels(x, *low, inverse_or_zero(d), 0.5f, levels, l);
  return {finite_f16(d), finite_f16(*low)};
}

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

void encode(const float* x, BlockQ4_0& block, const Weighting& weighting) {
  std::uint8_t l[kSmallBlock];
  block.d = symmetric_levels(x, weighting, 8, l);
  pack_nibbles(l, block.qs);
}
void encode(const float* x, BlockQ4_1& block, const Weighting& weighting) {
  std::uint8_t l[kSmallBlock];
  const ScaleOffset fit = affine_levels(x, weighting, 15, l);
  block.d = fit.d;
  block.m = fit.m;
  pack_nibbles(l, block.qs);
}
void encode(const float* x, BlockQ5_0& block, const Weighting& weighting) {
  std::uint8_t l[kSmallBlock];
  block.d = symmetric_levels(x, weighting, 16, l);
  pack_nibbles(l, block.qs);
  pack_fifth_bits(l, block.qh);
}
void encode(const float* x, BlockQ5_1& block, const Weighting& weighting) {
  std::uint8_t l[kSmallBlock];
  const ScaleOffset fit = affine_levels(x, weighting, 31, l);
  block.d = fit.d;
  block.m = fit.m;
  pack_nibbles(l, block.qs);
  pack_fifth_bits(l, block.qh);
}
void encode(const float* x, BlockQ8_0& block, const Weighting&) {
  const float d = std::fabs(signed_extreme(x)) / 127.0f;
  const float inverse = inverse_or_zero(d);
  block.d = finite_f16(d);
  // Half away from zero, as this format's definition has it.
  for (int i = 0; i < kSmallBlock; ++i) block.qs[i] = static_cast<std::int8_t>(std::round(x[i] * inverse));
}

}  // namespace dodeca::quant
