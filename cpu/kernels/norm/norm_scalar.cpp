#include <cmath>

#include "cpu/kernels/norm/norm_kernels.hpp"

namespace dodeca::cpu::scalar {

namespace {

float sum_pairwise(float (&lane)[16]) {
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lane[j] += lane[j + half];
  }
  return lane[0];
}

}  // namespace

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out) noexcept {
  float lane[16] = {};
  for (std::int64_t i = 0; i < n; ++i) lane[i % 16] = std::fma(x[i], x[i], lane[i % 16]);
  const float inverse = 1.0f / std::sqrt(sum_pairwise(lane) / static_cast<float>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

float add_and_weigh(const float* x, const float* add, const float* weight, std::int64_t n, float* sum,
                    float* out) noexcept {
  float lane[16] = {};
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = add == nullptr ? x[i] : x[i] + add[i];
    lane[i % 16] = std::fma(value, value, lane[i % 16]);
    sum[i] = value;
    out[i] = value * weight[i];
  }
  return sum_pairwise(lane);
}

}  // namespace dodeca::cpu::scalar
