// exp(x) with the bits of processors: the steps of cpu/kernels/exp_scalar.hpp, for routing and SwiGLU, whose results are
// the same on both. At most 1.1 ulp from the true value; NaN stays NaN.
#pragma once

#include "gpu/kernels/dialect.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

__device__ inline float exp_exact(float x) {
  constexpr float kLowest = -104.0f, kHighest = 89.0f;  // below: 0; above: infinity
  constexpr float kRound = 0x1.8p+23f;
  constexpr std::uint32_t kRoundBits = 0x4b400000u;
  x = kLowest > x ? kLowest : x;  // NaN passes both comparisons
  x = kHighest < x ? kHighest : x;
  const float shifted = fmaf(x, 0x1.715476p+0f, kRound), n = shifted - kRound;
  float r = fmaf(n, -0x1.62e430p-1f, x);
  r = fmaf(n, 0x1.05c610p-29f, r);
  float p = fmaf(0x1.6d110ap-10f, r, 0x1.120b6ep-7f);
  p = fmaf(p, r, 0x1.55551ap-5f);
  p = fmaf(p, r, 0x1.5554dcp-3f);
  p = fmaf(p, r, 0.5f);
  const float e = fmaf(p, r * r, r) + 1.0f;
  const std::uint32_t exponent = __float_as_uint(shifted) - kRoundBits;
  const auto half = static_cast<std::uint32_t>(static_cast<std::int32_t>(exponent) >> 1);
  return e * __uint_as_float((half + 127u) << 23) * __uint_as_float((exponent - half + 127u) << 23);
}

}  // namespace dodeca::gpu::DODECA_KERNELS
