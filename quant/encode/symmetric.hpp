// Searches for x ~ scale * l with integers l in [-half, half - 1] and a scale of either sign, by least weighted squares.
// Lanes are sub-blocks (tile.hpp); kWeighted false means that every weight counts the same.
#pragma once

#include "quant/encode/affine.hpp"

namespace dodeca::quant {

template <class V>
DODECA_LANE V magnitude(V a) {
  return max(a, -a);
}
template <class V>
DODECA_LANE V signed_inverse_of(V scale) {
  return select(V(kNoScale) < magnitude(scale), V(1.0f) / scale, V(0.0f));
}

template <class V>
struct SymmetricSums {
  V ll, xl;
};
template <int kSub, bool kWeighted, class V>
DODECA_LANE SymmetricSums<V> symmetric_sums(const float* x, const float* w, V inverse, float half) {
  SymmetricSums<V> s{V(0.0f), V(0.0f)};
  for (int i = 0; i < kSub; ++i) {
    const V xi = V::load(x + kTileLanes * i);
    const V l = round(min(max(xi * inverse, V(-half)), V(half - 1.0f)));
    const V wl = kWeighted ? V::load(w + kTileLanes * i) * l : l;
    s.ll = fma(wl, l, s.ll);
    s.xl = fma(wl, xi, s.xl);
  }
  return s;
}

template <int kSub, bool kWeighted, class V>
DODECA_LANE V symmetric_error(const float* x, const float* w, V scale, float half) {
  const V inverse = signed_inverse_of(scale);
  V error(0.0f);
  for (int i = 0; i < kSub; ++i) {
    const V xi = V::load(x + kTileLanes * i);
    const V l = round(min(max(xi * inverse, V(-half)), V(half - 1.0f)));
    const V residual = fma(-scale, l, xi);
    error = fma(kWeighted ? V::load(w + kTileLanes * i) * residual : residual, residual, error);
  }
  return error;
}

template <class V>
struct SymmetricFit {
  V scale, ll, gain;
};

// First roundings: the extreme is mapped to half + first + step * t of either sign, `count` each.
struct SymmetricTrials {
  int count;
  float first, step;
  int refits;
};

template <int kSub, bool kWeighted, class V>
DODECA_LANE SymmetricFit<V> symmetric_search(const float* x, const float* w, float half,
                                             const SymmetricTrials& trials) {
  V low = V::load(x), high = low;
  for (int i = 1; i < kSub; ++i) {
    const V xi = V::load(x + kTileLanes * i);
    low = min(xi, low);
    high = max(xi, high);
  }
  const V extreme = select(high < -low, low, high);
  SymmetricFit<V> best{-extreme / V(half), V(0.0f), V(0.0f)};
  const auto attempt = [&](V inverse) {
    const SymmetricSums<V> s = symmetric_sums<kSub, kWeighted>(x, w, inverse, half);
    const V scale = s.xl / max(s.ll, V(1e-30f)), gain = scale * s.xl;
    const auto better = best.gain < gain;
    best.scale = select(better, scale, best.scale);
    best.ll = select(better, s.ll, best.ll);
    best.gain = select(better, gain, best.gain);
  };
  const V unit = signed_inverse_of(extreme);
  for (int t = 0; t < trials.count; ++t) {
    const float top = half + trials.first + trials.step * static_cast<float>(t);
    attempt(unit * V(-top));
    attempt(unit * V(top - 1.0f));
  }
  for (int t = 0; t < trials.refits; ++t) attempt(signed_inverse_of(best.scale));
  return best;
}

}  // namespace dodeca::quant
