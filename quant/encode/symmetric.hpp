// Searches for x ~ scale * l with l among the Levels of a format (levels.hpp) and a scale of either sign, by least
// weighted squares. Lanes are sub-blocks (tile.hpp); kWeighted false means that every weight counts the same.
#pragma once

#include "quant/encode/affine.hpp"
#include "quant/encode/levels.hpp"

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
template <int kSub, bool kWeighted, class V, class Levels>
DODECA_LANE SymmetricSums<V> symmetric_sums(const float* x, const float* w, V inverse, const Levels& levels) {
  SymmetricSums<V> s{V(0.0f), V(0.0f)};
  for (int i = 0; i < kSub; ++i) {
    const V xi = V::load(x + kTileLanes * i);
    const V l = levels.nearest(xi * inverse);
    const V wl = kWeighted ? V::load(w + kTileLanes * i) * l : l;
    s.ll = fma(wl, l, s.ll);
    s.xl = fma(wl, xi, s.xl);
  }
  return s;
}

template <int kSub, bool kWeighted, class V, class Levels>
DODECA_LANE V symmetric_error(const float* x, const float* w, V scale, const Levels& levels) {
  const V inverse = signed_inverse_of(scale);
  V error(0.0f);
  for (int i = 0; i < kSub; ++i) {
    const V xi = V::load(x + kTileLanes * i);
    const V residual = fma(-scale, levels.nearest(xi * inverse), xi);
    error = fma(kWeighted ? V::load(w + kTileLanes * i) * residual : residual, residual, error);
  }
  return error;
}

template <class V>
struct SymmetricFit {
  V scale, ll, gain;  // gain: by how much the error is below that of all zeros
};

// First roundings: the extreme weight is mapped to (1 + first + step * t) times the extreme level, t < count, and where
// `both` to minus that.
struct SymmetricTrials {
  int count;
  float first, step;
  bool both;
  int refits;  // roundings that follow from the best fit so far
};

template <int kSub, class V>
DODECA_LANE V extreme_of(const float* x) {
  V low = V::load(x), high = low;
  for (int i = 1; i < kSub; ++i) {
    const V xi = V::load(x + kTileLanes * i);
    low = min(xi, low);
    high = max(xi, high);
  }
  return select(high < -low, low, high);
}

template <int kSub, bool kWeighted, class V, class Levels>
DODECA_LANE SymmetricFit<V> symmetric_search(const float* x, const float* w, const Levels& levels,
                                             const SymmetricTrials& trials) {
  const V extreme = extreme_of<kSub, V>(x);
  SymmetricFit<V> best{extreme / V(levels.extreme()), V(0.0f), V(0.0f)};
  const auto attempt = [&](V inverse) {
    const SymmetricSums<V> s = symmetric_sums<kSub, kWeighted>(x, w, inverse, levels);
    const V scale = s.xl / max(s.ll, V(1e-30f)), gain = scale * s.xl;
    const auto better = best.gain < gain;
    best.scale = select(better, scale, best.scale);
    best.ll = select(better, s.ll, best.ll);
    best.gain = select(better, gain, best.gain);
  };
  const V unit = signed_inverse_of(extreme) * V(levels.extreme());
  for (int t = 0; t < trials.count; ++t) {
    const V inverse = unit * V(1.0f + trials.first + trials.step * static_cast<float>(t));
    attempt(inverse);
    if (trials.both) attempt(-inverse);
  }
  for (int t = 0; t < trials.refits; ++t) attempt(signed_inverse_of(best.scale));
  return best;
}

}  // namespace dodeca::quant
