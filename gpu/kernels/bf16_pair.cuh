// Two floats as bf16, rounded to nearest, ties to even.
#pragma once

#include "gpu/kernels/dialect.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

// `low` in the lower 16 bits.
__device__ inline std::uint32_t pack_bf16(float low, float high) {
#ifdef __CUDACC__
  std::uint32_t pair;  // one instruction of sm_80 and up
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return static_cast<std::uint32_t>(f32_to_bf16(high)) << 16 | f32_to_bf16(low);
#endif
}

}  // namespace dodeca::gpu::DODECA_KERNELS
