// Two rotated pairs, for the kernels that rotate. Included behind dialect.hpp.
#pragma once

#include "gpu/kernels/rope.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

// Values of two neighbouring pairs, and where their first one stands.
struct PairOfPairs {
  float2 first, second;  // (a, b) of either
};

__device__ inline float2 rotated(float2 pair, float cos, float sin) {
  return make_float2(pair.x * cos - pair.y * sin, pair.x * sin + pair.y * cos);
}

// The pairs 2 i and 2 i + 1 of `rope` dimensions at x, read; x is 16 bytes aligned.
__device__ inline PairOfPairs load_pairs(const float* x, std::int32_t i, std::int32_t rope, RopePairs pairs) {
  if (pairs == RopePairs::kNeighbours) {
    const float4 v = *reinterpret_cast<const float4*>(x + 4 * i);
    return {make_float2(v.x, v.y), make_float2(v.z, v.w)};
  }
  const float2 a = *reinterpret_cast<const float2*>(x + 2 * i),
               b = *reinterpret_cast<const float2*>(x + rope / 2 + 2 * i);
  return {make_float2(a.x, b.x), make_float2(a.y, b.y)};
}

__device__ inline PairOfPairs rotated(const PairOfPairs& p, const float* cos_sin, std::int32_t i) {
  const float4 angles = __ldg(reinterpret_cast<const float4*>(cos_sin + 4 * i));
  return {rotated(p.first, angles.x, angles.y), rotated(p.second, angles.z, angles.w)};
}

}  // namespace dodeca::gpu::DODECA_KERNELS
