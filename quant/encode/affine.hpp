// Searches for x ~ scale * l - min with integers l in [0, levels] and scale >= 0 (in super-blocks min >= 0 too), by
// least weighted squares. Lanes are sub-blocks (tile.hpp); kWeighted false means that every weight counts the same.
#pragma once

#include "quant/encode/tile.hpp"

namespace dodeca::quant {

inline constexpr float kNoScale = 1e-20f;  // below it a scale counts as zero: its inverse would overflow

template <class V>
DODECA_LANE V inverse_of(V scale) {
  return select(V(kNoScale) < scale, V(1.0f) / max(scale, V(kNoScale)), V(0.0f));
}

// The sums that least squares needs, of one rounding.
template <class V>
struct AffineSums {
  V l, ll, xl;
};

template <int kSub, bool kWeighted, class V>
DODECA_LANE AffineSums<V> affine_sums(const float* x, const float* w, V inverse, V offset, V levels) {
  AffineSums<V> s{V(0.0f), V(0.0f), V(0.0f)};
  for (int i = 0; i < kSub; ++i) {
    const V xi = V::load(x + kTileLanes * i);
    const V l = round(min(max(fma(xi, inverse, offset), V(0.0f)), levels));
    const V wl = kWeighted ? V::load(w + kTileLanes * i) * l : l;
    s.l = s.l + wl;
    s.ll = fma(wl, l, s.ll);
    s.xl = fma(wl, xi, s.xl);
  }
  return s;
}

// Squared error of x against scale * l - min with the nearest l.
template <int kSub, bool kWeighted, class V>
DODECA_LANE V affine_error(const float* x, const float* w, V scale, V min_value, V levels) {
  const V inverse = inverse_of(scale), offset = min_value * inverse;
  V error(0.0f);
  for (int i = 0; i < kSub; ++i) {
    const V xi = V::load(x + kTileLanes * i);
    const V l = round(min(max(fma(xi, inverse, offset), V(0.0f)), levels));
    const V residual = fma(-scale, l, xi) + min_value;
    error = fma(kWeighted ? V::load(w + kTileLanes * i) * residual : residual, residual, error);
  }
  return error;
}

// What is known of a sub-block's best unconstrained fit, and how the error grows around it.
template <class V>
struct AffineFit {
  V scale, min;
  V l, ll;  // sums of its rounding
  V gain;   // by how much it lowers the error of all zeros
};

// kAnyMin: min may be negative.
template <bool kAnyMin, class V>
DODECA_LANE AffineFit<V> solve_affine(const AffineSums<V>& s, V sum_w, V sum_x) {
  const V determinant = fma(sum_w, s.ll, -(s.l * s.l));
  const V inverse = V(1.0f) / max(determinant, V(1e-30f));
  V scale = fma(sum_w, s.xl, -(sum_x * s.l)) * inverse;
  V base = fma(s.ll, sum_x, -(s.l * s.xl)) * inverse;
  if (!kAnyMin) {
    const auto positive = V(0.0f) < base;
    scale = select(positive, s.xl / max(s.ll, V(1e-30f)), scale);
    base = select(positive, V(0.0f), base);
  }
  V gain = fma(scale, s.xl, base * sum_x);
  gain = select(V(1e-30f) < determinant, gain, V(-1.0f));
  gain = select(V(0.0f) < scale, gain, V(-1.0f));
  return {scale, -base, s.l, s.ll, gain};
}

template <class V>
DODECA_LANE void keep_better(AffineFit<V>& best, const AffineFit<V>& fit) {
  const auto better = best.gain < fit.gain;
  best.scale = select(better, fit.scale, best.scale);
  best.min = select(better, fit.min, best.min);
  best.l = select(better, fit.l, best.l);
  best.ll = select(better, fit.ll, best.ll);
  best.gain = select(better, fit.gain, best.gain);
}

// The grid of first roundings: the range [low, high] of a sub-block, cut by `trim` at either end (in parts of the
// range), is mapped onto the levels.
struct AffineTrials {
  int low_cuts, high_cuts;
  float first, step;
  int refits;  // roundings that follow from the best fit so far
};

template <int kSub, bool kWeighted, bool kAnyMin, class V>
DODECA_LANE AffineFit<V> affine_search(const float* x, const float* w, V levels, const AffineTrials& trials) {
  V low = kAnyMin ? V::load(x) : V(0.0f), high = V::load(x), sum_w(0.0f), sum_x(0.0f);
  for (int i = 0; i < kSub; ++i) {
    const V xi = V::load(x + kTileLanes * i);
    low = min(xi, low);
    high = max(xi, high);
    if (kWeighted) {
      const V wi = V::load(w + kTileLanes * i);
      sum_w = sum_w + wi;
      sum_x = fma(wi, xi, sum_x);
    } else {
      sum_x = sum_x + xi;
    }
  }
  if (!kWeighted) sum_w = V(static_cast<float>(kSub));
  const V range = high - low;
  // Should nothing fit (equal values): the range as it is, one end held by the minimum, the other by the last level.
  AffineFit<V> best{range / levels, -low, V(0.0f), V(0.0f), V(-1.0f)};
  for (int a = 0; a < trials.low_cuts; ++a) {
    const float low_cut = trials.first + trials.step * static_cast<float>(a);
    for (int b = 0; b < trials.high_cuts; ++b) {
      const float high_cut = trials.first + trials.step * static_cast<float>(b);
      const V inverse = levels * inverse_of(range * V(1.0f - low_cut - high_cut));
      const V offset = -(fma(range, V(low_cut), low) * inverse);
      keep_better(best,
                  solve_affine<kAnyMin>(affine_sums<kSub, kWeighted>(x, w, inverse, offset, levels), sum_w, sum_x));
    }
  }
  for (int k = 0; k < trials.refits; ++k) {
    const V inverse = inverse_of(best.scale);
    keep_better(best, solve_affine<kAnyMin>(affine_sums<kSub, kWeighted>(x, w, inverse, best.min * inverse, levels),
                                            sum_w, sum_x));
  }
  return best;
}

}  // namespace dodeca::quant
