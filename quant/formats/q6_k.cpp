// Q6_K: sub-blocks of 16 weights in 6 bits (-32..31), each with an 8-bit signed scale.
#include <cmath>

#include "quant/float_types.hpp"
#include "quant/formats/search.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 16, kSubs = kSuperBlock / kSub, kV = kSub / kLanes;

// Weight i keeps its low nibble in ql and its two high bits in qh.
constexpr int ql_of(int i) { return 64 * (i / 128) + i % 64; }
constexpr int ql_shift_of(int i) { return 4 * (i % 128 / 64); }
constexpr int qh_of(int i) { return 32 * (i / 128) + i % 32; }
constexpr int qh_shift_of(int i) { return 2 * (i % 128 / 32); }

}  // namespace

void decode(const BlockQ6_K& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(block.scales[sub]);
    for (int i = sub * kSub; i < (sub + 1) * kSub; ++i) {
      const int low = (block.ql[ql_of(i)] >> ql_shift_of(i)) & 15;
      const int high = (block.qh[qh_of(i)] >> qh_shift_of(i)) & 3;
      y[i] = scale * static_cast<float>((low | (high << 4)) - 32);
    }
  }
}

void encode(const float* x, BlockQ6_K& block, const Weighting& weighting) {
  float scales[kSubs];
  for (int sub = 0; sub < kSubs; ++sub) {
    Group<kV> group;
    load_group(x + sub * kSub, group.x);
    const float mean = weighted_squares(group.x) / kSub;
    for (int v = 0; v < kV; ++v) {
      group.w[v] =
          weighting.importance ? load(weighting.importance + sub * kSub + v * kLanes) : group.x[v] * group.x[v] + mean;
    }
    scales[sub] = symmetric_scale(group, 32);
  }
  Lanes all[kV];
  load_group(scales, all);
  const float step = -extremes(all).signed_max() / 128;

  block = {};
  block.d = finite_f16(step);
  const float inverse_step = std::fabs(step) < kNegligible ? 0 : 1.0f / step;
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float level = round_clamped(inverse_step * scales[sub], -128, 127);
    block.scales[sub] = static_cast<std::int8_t>(level);
    const float scale = d * level;
    const float inverse = scale == 0 ? 0 : 1.0f / scale;
    for (int i = sub * kSub; i < (sub + 1) * kSub; ++i) {
      const int q = static_cast<int>(round_clamped(x[i] * inverse, -32, 31)) + 32;
      block.ql[ql_of(i)] |= static_cast<std::uint8_t>((q & 15) << ql_shift_of(i));
      block.qh[qh_of(i)] |= static_cast<std::uint8_t>((q >> 4) << qh_shift_of(i));
    }
  }
}

}  // namespace dodeca::quant
