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

namespace {

void rotate(float& first, float& second, const float* cos_sin) noexcept {
  const float a = first, b = second, c = cos_sin[0], s = cos_sin[1];
  first = a * c - b * s;
  second = a * s + b * c;
}

}  // namespace

void rope_rotate(float* x, const float* cos_sin, std::int64_t n_pairs) noexcept {
  for (std::int64_t i = 0; i < n_pairs; ++i) rotate(x[2 * i], x[2 * i + 1], cos_sin + 2 * i);
}

void rope_rotate_halves(float* x, const float* cos_sin, std::int64_t n_pairs) noexcept {
  for (std::int64_t i = 0; i < n_pairs; ++i) rotate(x[i], x[i + n_pairs], cos_sin + 2 * i);
}

}  // namespace dodeca::cpu
