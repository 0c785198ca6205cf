// The definition of exp (see exp.hpp), one value at a time.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "cpu/kernels/exp.hpp"

namespace dodeca::cpu::scalar {
namespace {

inline float exp_one(float x) {
  using namespace exp_constants;
  x = kLowest > x ? kLowest : x;  // NaN passes both comparisons
  x = kHighest < x ? kHighest : x;
  const float shifted = std::fma(x, kLog2E, kRound);
  const float n = shifted - kRound;
  float r = std::fma(n, -kLn2High, x);
  r = std::fma(n, -kLn2Low, r);
  float p = std::fma(kC6, r, kC5);
  p = std::fma(p, r, kC4);
  p = std::fma(p, r, kC3);
  p = std::fma(p, r, kC2);
  const float e = std::fma(p, r * r, r) + 1.0f;
  // Unsigned: NaN leaves any bits here.
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) - static_cast<std::uint32_t>(kRoundBits);
  const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(exponent) >> 1);
  const float scale0 = std::bit_cast<float>((half + 127u) << 23);
  const float scale1 = std::bit_cast<float>((exponent - half + 127u) << 23);
  return e * scale0 * scale1;
}

}  // namespace
}  // namespace dodeca::cpu::scalar
