// How a group of n floats x becomes whole numbers with one scale: amax = max |x|; scale = amax / top,
// q = round-half-even(x * (top / amax)). amax < 2^-100 gives scale 0 and q 0, so that top / amax stays finite; an
// infinity or a NaN gives scale NaN and q 0. The functions are the scalar variant of it; a group may come in pieces.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace dodeca::cpu {

// Magnitudes are compared as integers: there NaN is above infinity, and their order does not matter.
inline constexpr std::int32_t kTinyGroupBits = 27 << 23;  // 2^-100
inline constexpr std::int32_t kInfinityGroupBits = 0x7f800000;

namespace {

struct GroupScale {
  float scale, factor;  // factor 0: all zeros
};

inline std::int32_t amax_bits_of(const float* x, std::int64_t n, std::int32_t amax_bits = 0) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t bits = std::bit_cast<std::int32_t>(x[i]) & 0x7fffffff;
    amax_bits = bits > amax_bits ? bits : amax_bits;
  }
  return amax_bits;
}

inline GroupScale group_scale(std::int32_t amax_bits, float top) {
  if (amax_bits < kTinyGroupBits) return {0.0f, 0.0f};
  if (amax_bits >= kInfinityGroupBits) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  const auto amax = std::bit_cast<float>(amax_bits);
  return {amax / top, top / amax};
}

template <class T>
void round_group(const float* x, std::int64_t n, float factor, T* q) {
  for (std::int64_t i = 0; i < n; ++i)
    q[i] = factor == 0.0f ? T{0} : static_cast<T>(std::nearbyint(x[i] * factor));  // infinity * 0 would be NaN
}

// Fills q and returns the scale.
template <class T>
float quantize_group(const float* x, std::int64_t n, float top, T* q) {
  const GroupScale group = group_scale(amax_bits_of(x, n), top);
  round_group(x, n, group.factor, q);
  return group.scale;
}

}  // namespace
}  // namespace dodeca::cpu
