// Pairs of 16-bit floats, and their products on tensor cores.
#pragma once

#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/tensor.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

template <bool f16>
struct Halves {
  // The largest where a value is too large; NaN stays NaN.
  __device__ static std::uint32_t pack(float low, float high) {
    if constexpr (f16) return held(low) | held(high) << 16;
    return pack_bf16(low, high);
  }
  __device__ static float2 unpack(std::uint32_t pair) {
    if constexpr (f16)
      return make_float2(f16_to_f32(static_cast<std::uint16_t>(pair & 0xffffu)),
                         f16_to_f32(static_cast<std::uint16_t>(pair >> 16)));
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
  }
  __device__ static void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    if constexpr (f16)
      mma_f16(c, a, b0, b1);
    else
      mma_bf16(c, a, b0, b1);
  }

 private:
  __device__ static std::uint32_t held(float x) {
    return f32_to_f16(x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x);
  }
};

// Whichever type the arguments name.
__device__ inline std::uint32_t pack_halves(bool f16, float low, float high) {
  return f16 ? Halves<true>::pack(low, high) : Halves<false>::pack(low, high);
}

}  // namespace dodeca::gpu::DODECA_KERNELS
