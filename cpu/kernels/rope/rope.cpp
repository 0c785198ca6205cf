#include "cpu/kernels/rope/rope.hpp"

#include <cmath>
#include <cstddef>

namespace dodeca::cpu {

void rope_angles(std::int64_t position, const std::vector<double>& inv_freq, float* cos_sin) noexcept {
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    const double angle = static_cast<double>(position) * inv_freq[i];
    cos_sin[2 * i] = static_cast<float>(std::cos(angle));
    cos_sin[2 * i + 1] = static_cast<float>(std::sin(angle));
  }
}

void rope_rotate(float* x, const float* cos_sin, std::int64_t n_pairs) noexcept {
  for (std::int64_t i = 0; i < n_pairs; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
    x[2 * i] = a * c - b * s;
    x[2 * i + 1] = a * s + b * c;
  }
}

}  // namespace dodeca::cpu
