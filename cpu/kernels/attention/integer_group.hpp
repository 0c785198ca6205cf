// The scalar rule by which a group of floats becomes whole numbers (integer.hpp).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "cpu/kernels/attention/integer_kernels.hpp"

namespace dodeca::cpu {
namespace {

// Fills q and returns the scale. Magnitudes are compared as integers: there NaN is above infinity.
template <class T>
float quantize_group(const float* x, std::int64_t n, float top, T* q) {
  std::int32_t amax_bits = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t bits = std::bit_cast<std::int32_t>(x[i]) & 0x7fffffff;
    amax_bits = bits > amax_bits ? bits : amax_bits;
  }
  if (amax_bits < kTinyGroupBits || amax_bits >= kInfinityGroupBits) {
    for (std::int64_t i = 0; i < n; ++i) q[i] = 0;
    return amax_bits < kTinyGroupBits ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  const auto amax = std::bit_cast<float>(amax_bits);
  const float inverse = top / amax;
  for (std::int64_t i = 0; i < n; ++i) q[i] = static_cast<T>(std::nearbyint(x[i] * inverse));
  return amax / top;
}

}  // namespace
}  // namespace dodeca::cpu
