// Sixteen sub-blocks of kSub weights, one per lane: weight i of lane k at [16 * i + k].
#pragma once

#include "quant/encode/lanes.hpp"

namespace dodeca::quant {

inline constexpr int kTileLanes = 16;

// Importance is kept within these, so that no product of the searches over- or underflows whatever the user's scale.
inline constexpr float kLeastImportance = 1e-12f, kMostImportance = 1e12f;
inline constexpr float kMostValue = 1e9f;  // likewise; far beyond what an f16 scale can hold

template <int kSub>
struct Tile {
  alignas(64) float x[kSub * kTileLanes];
  alignas(64) float w[kSub * kTileLanes];  // filled where importance is given
};

// n_lanes sub-blocks, one after the other at x; lanes beyond them are zero. importance null: w is left alone.
template <class V, int kSub>
DODECA_LANE void load_tile(const float* x, const float* importance, int n_lanes, Tile<kSub>& tile) {
  alignas(64) float padded[kSub * kTileLanes];
  const auto transposed = [&](const float* src, float* dst) {
    if (n_lanes < kTileLanes) {
      for (int i = 0; i < kSub * kTileLanes; ++i) padded[i] = i < n_lanes * kSub ? src[i] : 0.0f;
      src = padded;
    }
    for (int i = 0; i < kSub; i += 16) V::transpose(src + i, kSub, dst + kTileLanes * i);
  };
  const auto limit = [](float* values, float least, float most) {
    for (int i = 0; i < kSub * kTileLanes; i += V::kCount) {
      min(max(V::load(values + i), V(least)), V(most)).store(values + i);
    }
  };
  transposed(x, tile.x);
  limit(tile.x, -kMostValue, kMostValue);
  if (importance == nullptr) return;
  transposed(importance, tile.w);
  limit(tile.w, kLeastImportance, kMostImportance);
}

// Takes over from `found` the named fields of each super-block (kPerBlock lanes) whose summed error is less there.
template <int kPerBlock, class Codes, class... Fields>
DODECA_LANE void keep_better(Codes& best, const Codes& found, Fields Codes::*... fields) {
  for (int first = 0; first < kTileLanes; first += kPerBlock) {
    float old_error = 0, new_error = 0;
    for (int k = first; k < first + kPerBlock; ++k) {
      old_error += best.error[k];
      new_error += found.error[k];
    }
    if (!(new_error < old_error)) continue;
    for (int k = first; k < first + kPerBlock; ++k) {
      best.error[k] = found.error[k];
      (((best.*fields)[k] = (found.*fields)[k]), ...);
    }
  }
}

}  // namespace dodeca::quant
