#include <cmath>

#include "cpu/kernels/norm/norm_kernels.hpp"

namespace dodeca::cpu::scalar {

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out) noexcept {
  float lane[16] = {};
  for (std::int64_t i = 0; i < n; ++i) lane[i % 16] = std::fma(x[i], x[i], lane[i % 16]);
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lane[j] += lane[j + half];
  }
  const float inverse = 1.0f / std::sqrt(lane[0] / static_cast<float>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

}  // namespace dodeca::cpu::scalar
