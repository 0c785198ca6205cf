// The step of the scales step * (2 s + 1), s in 0..most_code, of the lattice types.
#pragma once

#include "quant/encode/lanes.hpp"

namespace dodeca::quant {

// The step whose odd multiples come closest to the kSubs targets, each counting by its weight.
template <class V, int kSubs>
DODECA_LANE float best_odd_step(const float* target, const float* weight, float most_code) {
  constexpr int kSteps = 32;
  float largest = 0;
  for (int b = 0; b < kSubs; ++b) largest = target[b] > largest ? target[b] : largest;
  if (!(largest > 1e-20f)) return 0;
  alignas(64) float steps[kSteps], errors[kSteps];
  for (int c = 0; c < kSteps; ++c) {
    steps[c] = largest / ((2 * most_code + 1) * (1.05f - 0.02f * static_cast<float>(c)));
  }
  for (int c = 0; c < kSteps; c += V::kCount) {
    const V step = V::load(steps + c), inverse = V(1.0f) / step;
    V error(0.0f);
    for (int b = 0; b < kSubs; ++b) {
      const V t(target[b]);
      const V code = round(min(max(fma(t * inverse, V(0.5f), V(-0.5f)), V(0.0f)), V(most_code)));
      const V off = fma(code + code + V(1.0f), step, -t);
      error = fma(V(weight[b]) * off, off, error);
    }
    error.store(errors + c);
  }
  int best = 0;
  for (int c = 1; c < kSteps; ++c) {
    if (errors[c] < errors[best]) best = c;
  }
  return steps[best];
}

}  // namespace dodeca::quant
