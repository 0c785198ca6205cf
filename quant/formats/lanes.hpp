// Eight floats handled as one value, by the compiler's vector extension: the encoders' searches are sums over 16 or 32
// weights, and lanes fix the order of those sums, so that every build computes the same bits.
#pragma once

#include <cstdint>
#include <cstring>

// The functions below are all inlined: no vector is ever passed between differently built files.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace dodeca::quant {

using Lanes = float __attribute__((vector_size(32)));
inline constexpr int kLanes = 8;

[[gnu::always_inline]] inline Lanes load(const float* src) {
  Lanes v;
  std::memcpy(&v, src, sizeof v);
  return v;
}
[[gnu::always_inline]] inline void store(Lanes v, float* dst) { std::memcpy(dst, &v, sizeof v); }
[[gnu::always_inline]] inline float sum(Lanes v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}
[[gnu::always_inline]] inline Lanes absolute(Lanes v) { return v < 0.0f ? -v : v; }
[[gnu::always_inline]] inline Lanes square_root(Lanes v) {
  for (int i = 0; i < kLanes; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
}
// The nearest integer in [lo, hi], ties to even; NaN gives lo. The bounds are below 2^22 in size: there, adding 1.5 *
// 2^23 leaves only the integer part.
[[gnu::always_inline]] inline Lanes round_clamped(Lanes v, float lo, float hi) {
  const Lanes floor = Lanes{} + lo, ceiling = Lanes{} + hi;
  v = v > floor ? v : floor;
  v = v < ceiling ? v : ceiling;
  return (v + 12582912.0f) - 12582912.0f;
}
[[gnu::always_inline]] inline float round_clamped(float v, float lo, float hi) {
  v = v > lo ? v : lo;
  v = v < hi ? v : hi;
  return (v + 12582912.0f) - 12582912.0f;
}

}  // namespace dodeca::quant
