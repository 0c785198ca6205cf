#include "quant/formats/search.hpp"

#include <initializer_list>

namespace dodeca::quant {

float positive_levels(int n, float levels, const float* x, const float* w, std::uint8_t* l) {
  float largest = 0;
  for (int i = 0; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  for (int i = 0; i < n; ++i) l[i] = 0;
  if (largest < kNegligible) return 0;

  // The rounding step with the least weighted error; the plain one (t = 0) wins ties.
  float best_inverse = levels / largest, best_error = -1;
  for (const int trial : {0, -4, -3, -2, -1, 1, 2, 3, 4}) {
    const float inverse = (levels + 0.1f * static_cast<float>(trial)) / largest;
    float error = 0;
    for (int i = 0; i < n; ++i) {
      const float difference = x[i] - round_clamped(inverse * x[i], 0, levels) / inverse;
      error += w[i] * difference * difference;
    }
    if (best_error < 0 || error < best_error) {
      best_error = error;
      best_inverse = inverse;
    }
  }
  float sum_xl = 0, sum_ll = 0;
  for (int i = 0; i < n; ++i) {
    const float level = round_clamped(best_inverse * x[i], 0, levels);
    l[i] = static_cast<std::uint8_t>(level);
    sum_xl += w[i] * x[i] * level;
    sum_ll += w[i] * level * level;
  }
  // Coordinate descent: each level again, against the least-squares scale of the others.
  for (int sweep = 0; sweep < 5; ++sweep) {
    bool changed = false;
    for (int i = 0; i < n; ++i) {
      const auto old = static_cast<float>(l[i]);
      const float other_xl = sum_xl - w[i] * x[i] * old, other_ll = sum_ll - w[i] * old * old;
      if (!(other_xl > 0 && other_ll > 0)) continue;
      const float level = round_clamped(x[i] * other_ll / other_xl, 0, levels);
      if (level == old) continue;
      const float new_xl = other_xl + w[i] * x[i] * level, new_ll = other_ll + w[i] * level * level;
      if (new_xl * new_xl * sum_ll > sum_xl * sum_xl * new_ll) {
        l[i] = static_cast<std::uint8_t>(level);
        sum_xl = new_xl;
        sum_ll = new_ll;
        changed = true;
      }
    }
    if (!changed) break;
  }
  return sum_ll > 0 ? sum_xl / sum_ll : 1.0f / best_inverse;
}

}  // namespace dodeca::quant
