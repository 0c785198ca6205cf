// Running results of softmax-weighted sums, and how results of pieces of a context become one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace dodeca::runtime::exec {

// [n] maxima, [n] sums, [n, width] values.
struct SoftmaxState {
  float *max, *sum, *acc;
};

inline void clear_softmax(const SoftmaxState& state, std::int64_t n, std::int64_t width) noexcept {
  std::fill_n(state.max, n, -std::numeric_limits<float>::infinity());
  std::fill_n(state.sum, n, 0.0f);
  std::fill_n(state.acc, n * width, 0.0f);
}

// Folds `part` into `into`: the values are rescaled to the common maximum.
inline void merge_softmax(const SoftmaxState& into, const SoftmaxState& part, std::int64_t n,
                          std::int64_t width) noexcept {
  for (std::int64_t h = 0; h < n; ++h) {
    const float max = std::max(into.max[h], part.max[h]);
    const float a = std::exp(into.max[h] - max), b = std::exp(part.max[h] - max);
    into.max[h] = max;
    into.sum[h] = into.sum[h] * a + part.sum[h] * b;
    float* acc = into.acc + h * width;
    const float* add = part.acc + h * width;
    std::int64_t i = 0;
    for (; i + 16 <= width; i += 16) {  // known lengths become vectors
      for (std::int64_t j = i; j < i + 16; ++j) acc[j] = acc[j] * a + add[j] * b;
    }
    for (; i < width; ++i) acc[i] = acc[i] * a + add[i] * b;
  }
}

}  // namespace dodeca::runtime::exec
