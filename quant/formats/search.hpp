// The searches behind the K quantizers: scales that minimize a weighted squared error, in the manner of ggml's
// reference quantizers (their published description; trial grids are theirs, so that results are comparable). A group
// is kV vectors of eight weights. Values and error weights are finite; all sums have a fixed order.
#pragma once

#include <cmath>
#include <cstdint>

#include "quant/formats/formats.hpp"
#include "quant/formats/lanes.hpp"

namespace dodeca::quant {

inline constexpr float kNegligible = 1e-15f;  // a block whose largest magnitude is below this is all zero

template <int kV>
struct Group {
  Lanes x[kV];  // values
  Lanes w[kV];  // weights of the squared error
};

template <int kV>
inline void load_group(const float* x, Lanes (&out)[kV]) {
  for (int v = 0; v < kV; ++v) out[v] = load(x + v * kLanes);
}

template <int kV>
inline float weighted_squares(const Lanes (&x)[kV]) {
  Lanes total{};
  for (int v = 0; v < kV; ++v) total += x[v] * x[v];
  return sum(total);
}

struct Extremes {
  float min, max;
  float signed_max() const { return max >= -min ? max : min; }
};
template <int kV>
inline Extremes extremes(const Lanes (&x)[kV]) {
  Lanes low = x[0], high = x[0];
  for (int v = 1; v < kV; ++v) {
    low = x[v] < low ? x[v] : low;
    high = x[v] > high ? x[v] : high;
  }
  Extremes e{low[0], high[0]};
  for (int i = 1; i < kLanes; ++i) {
    if (low[i] < e.min) e.min = low[i];
    if (high[i] > e.max) e.max = high[i];
  }
  return e;
}

// x ~ scale * l with l in [-levels, levels - 1]: the (signed) scale, 0 for a negligible group.
// Tries 19 roundings around the one that maps the largest value to -levels, each followed by least squares, then once
// more the rounding of the best.
template <int kV>
inline float symmetric_scale(const Group<kV>& group, float levels) {
  const float extreme = extremes(group.x).signed_max();
  if (std::fabs(extreme) < kNegligible) return 0;
  float best_scale = -extreme / levels, best_gain = 0;
  // The least-squares scale of one rounding replaces the best when the squared error falls by more.
  const auto refit = [&](float inverse) {
    Lanes xl{}, ll{};
    for (int v = 0; v < kV; ++v) {
      const Lanes l = round_clamped(group.x[v] * inverse, -levels, levels - 1);
      const Lanes wl = group.w[v] * l;
      xl += wl * group.x[v];
      ll += wl * l;
    }
    const float sum_xl = sum(xl), sum_ll = sum(ll);
    if (!(sum_ll > 0)) return;
    const float scale = sum_xl / sum_ll, gain = scale * sum_xl;
    if (gain > best_gain) {
      best_gain = gain;
      best_scale = scale;
    }
  };
  for (int trial = -9; trial <= 9; ++trial) refit(-(levels + 0.1f * static_cast<float>(trial)) / extreme);
  refit(1.0f / best_scale);
  return best_scale;
}

struct AffineFit {
  float scale = 0, min = 0;  // x ~ scale * l - min, both >= 0
};
struct AffineTrials {
  float first, step;  // trial t maps the range to levels + first + step * t
  int last;
  bool absolute = false;  // trials are compared by weighted absolute error, not squared
};

// x ~ scale * l - min with l in [0, levels]: a rounding per trial, each followed by weighted least squares for both,
// then rounding and least squares in turn from the best.
template <int kV>
inline AffineFit affine_fit(const Group<kV>& group, float levels, const AffineTrials& trials) {
  const Extremes range = extremes(group.x);
  const float low = range.min < 0 ? range.min : 0;
  if (!(range.max - low > kNegligible)) return {0, -low};
  Lanes lanes_w{}, lanes_x{};
  for (int v = 0; v < kV; ++v) {
    lanes_w += group.w[v];
    lanes_x += group.w[v] * group.x[v];
  }
  const float sum_w = sum(lanes_w), sum_x = sum(lanes_x);

  const auto error_of = [&](const Lanes(&l)[kV], float scale, float min) {
    Lanes total{};
    for (int v = 0; v < kV; ++v) {
      const Lanes difference = l[v] * scale + min - group.x[v];
      total += group.w[v] * (trials.absolute ? absolute(difference) : difference * difference);
    }
    return sum(total);
  };

  AffineFit best{(range.max - low) / levels, -low};
  Lanes l[kV];
  const auto round_to_levels = [&](float inverse) {
    for (int v = 0; v < kV; ++v) l[v] = round_clamped((group.x[v] + best.min) * inverse, 0, levels);
  };
  round_to_levels(levels / (range.max - low));
  float best_error = error_of(l, best.scale, low);
  // The least-squares fit of the levels in l replaces the best one when its error is lower.
  const auto refit = [&] {
    Lanes lanes_l{}, lanes_ll{}, lanes_xl{};
    for (int v = 0; v < kV; ++v) {
      const Lanes wl = group.w[v] * l[v];
      lanes_l += wl;
      lanes_ll += wl * l[v];
      lanes_xl += wl * group.x[v];
    }
    const float sum_l = sum(lanes_l), sum_ll = sum(lanes_ll), sum_xl = sum(lanes_xl);
    const float determinant = sum_w * sum_ll - sum_l * sum_l;
    if (!(determinant > 0)) return false;
    float scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    float min = (sum_ll * sum_x - sum_l * sum_xl) / determinant;
    if (min > 0) {  // the formats have no positive minimum
      min = 0;
      scale = sum_xl / sum_ll;
    }
    const float error = error_of(l, scale, min);
    if (!(error < best_error && scale > 0)) return false;
    best_error = error;
    best = {scale, -min};
    return true;
  };
  // Each trial starts from the best minimum so far.
  for (int trial = 0; trial <= trials.last; ++trial) {
    round_to_levels((levels + trials.first + trials.step * static_cast<float>(trial)) / (range.max + best.min));
    refit();
  }
  for (int pass = 0; pass < 3; ++pass) {
    round_to_levels(1.0f / best.scale);
    if (!refit()) break;
  }
  return best;
}

// x >= 0, x ~ scale * l with l in [0, levels]: writes l, returns the scale. n <= 16.
float positive_levels(int n, float levels, const float* x, const float* w, std::uint8_t* l);

// importance * sqrt(mean_square + x^2): the error weights used with an importance matrix.
template <int kV>
inline void importance_weights(const float* importance, float mean_square, Group<kV>& group) {
  for (int v = 0; v < kV; ++v) {
    group.w[v] = load(importance + v * kLanes) * square_root(group.x[v] * group.x[v] + mean_square);
  }
}

// Rounds a block's sub-block scales or minima (all >= 0) to [0, levels] by their largest; returns the f32 step.
inline float levels_by_largest(int n, float levels, const float* x, std::uint8_t* l) {
  float largest = 0;
  for (int i = 0; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  const float inverse = largest > 0 ? levels / largest : 0;
  for (int i = 0; i < n; ++i) l[i] = static_cast<std::uint8_t>(round_clamped(inverse * x[i], 0, levels));
  return largest / levels;
}

}  // namespace dodeca::quant
