// Four-bit tables: IQ4_NL, IQ4_XS (values denser around zero) and MXFP4 (E2M1 floats under a power-of-two scale).
#include <cmath>

#include "quant/float_types.hpp"
#include "quant/formats/search.hpp"

namespace dodeca::quant {
namespace {

constexpr int kV = kSmallBlock / kLanes;
constexpr float kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr float kDoubledE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

int nibble(const std::uint8_t* qs, int i) { return (qs[i % 16] >> (4 * (i / 16))) & 15; }

// The nearest value of kTable in each lane.
Lanes nearest_in_table(Lanes v) {
  Lanes value = Lanes{} + kTable[0];
  for (int k = 1; k < 16; ++k) {
    value = v > 0.5f * (kTable[k - 1] + kTable[k]) ? Lanes{} + kTable[k] : value;
  }
  return value;
}

int nearest_index(float v) {
  int index = 0;
  for (int k = 1; k < 16; ++k) index += v > 0.5f * (kTable[k - 1] + kTable[k]);
  return index;
}

// x ~ scale * table value: the best of 15 roundings, each followed by least squares.
float table_scale(const Group<kV>& group) {
  const float extreme = extremes(group.x).signed_max();
  if (std::fabs(extreme) < kNegligible) return 0;
  float best_scale = extreme / kTable[0], best_gain = 0;
  for (int trial = -8; trial <= 7; ++trial) {
    // The table is not symmetric: the first trial turns it round.
    const float inverse = (trial == -8 ? -kTable[0] : static_cast<float>(trial) + kTable[0]) / extreme;
    Lanes xq{}, qq{};
    for (int v = 0; v < kV; ++v) {
      const Lanes q = nearest_in_table(group.x[v] * inverse);
      const Lanes wq = group.w[v] * q;
      xq += wq * group.x[v];
      qq += wq * q;
    }
    const float sum_xq = sum(xq), sum_qq = sum(qq);
    if (!(sum_qq > 0)) continue;
    const float scale = sum_xq / sum_qq, gain = scale * sum_xq;
    if (gain > best_gain) {
      best_gain = gain;
      best_scale = scale;
    }
  }
  return best_scale;
}

}  // namespace

void decode(const BlockIQ4_NL& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * kTable[nibble(block.qs, i)];
}

void decode(const BlockIQ4_XS& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const int low = (block.scales_l[ib / 2] >> (4 * (ib % 2))) & 15;
    const int high = (block.scales_h >> (2 * ib)) & 3;
    const float scale = d * static_cast<float>((low | (high << 4)) - 32);
    for (int i = 0; i < 32; ++i) y[32 * ib + i] = scale * kTable[nibble(block.qs + 16 * ib, i)];
  }
}

void decode(const BlockMXFP4& block, float* y) {
  const float d = e8m0_half_to_f32(block.e);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * kDoubledE2M1[nibble(block.qs, i)];
}

void encode(const float* x, BlockIQ4_NL& block, const Weighting& weighting) {
  Group<kV> group;
  load_group(x, group.x);
  if (weighting.importance) {
    importance_weights(weighting.importance, 2 * weighted_squares(group.x) / kSmallBlock, group);
  } else {
    for (int v = 0; v < kV; ++v) group.w[v] = group.x[v] * group.x[v];
  }
  block = {};
  block.d = finite_f16(table_scale(group));
  const float d = f16_to_f32(block.d);
  const float inverse = d == 0 ? 0 : 1.0f / d;
  for (int i = 0; i < kSmallBlock; ++i) {
    block.qs[i % 16] |= static_cast<std::uint8_t>(nearest_index(x[i] * inverse) << (4 * (i / 16)));
  }
}

}  // namespace dodeca::quant
