// The CUDA that kernels are written in: what nvcc and the emulation (gpu/emulation/builtins.hpp) both understand. Every
// kernel source includes this, after its own header, and writes everything into namespace dodeca::gpu::DODECA_KERNELS.
//
//   DODECA_KERNEL(name, Args, threads) { ... args.x ... }   a kernel for blocks of at most `threads` threads; a further
//                                                            number: of which so many shall fit a multiprocessor
//   DODECA_SHARED(float, tile, [8][33]);                    shared memory of a block; undefined contents
//   dynamic_shared<float4>()                                 the launch's own shared memory, 16 bytes aligned
//   __device__ inline, __constant__ const                     functions and tables of a source
//
// From CUDA: threadIdx.x, blockIdx, blockDim.x, gridDim, warpSize, __syncthreads and its three kinds with a vote,
// __syncwarp, shuffles, votes, __reduce_*_sync of integers, __match_any_sync, atomicAdd/Max/Min/Exch/CAS/Or of 32 bits
// (float: Add), __ldg, __threadfence*, __dp4a, __popc, __clz, __ffs, __brev, __byte_perm, __funnelshift_*, int and
// float vectors (uint4, float4, ...) with make_*, __fmaf_rn and its kind, __expf, __logf, __fdividef, rsqrtf, expf,
// fmaf, ... Own: load_once (past L1, of what nobody writes), conversions of BF16 and F16 bits (bf16_to_f32,
// f32_to_bf16, pack_bf16(low, high), f16_to_f32, f32_to_f16), and what PTX has no C++ for: mma, ldmatrix, cp.async
// (gpu/kernels/tensor.hpp).
//
// Arithmetic is what is written: nvcc does not fuse (-fmad=false); write fmaf where one rounding is wanted. Then the
// emulation has the card's bits, but for expf and its kind, __expf and its kind, and the order of atomics on floats.
//
// One thread per fiber: a kernel whose threads never meet runs as plain calls. Do not count on warps in lockstep:
// __syncwarp() orders memory within a warp, shuffles and votes do not.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__

#define DODECA_KERNELS cuda
#define DODECA_KERNEL(name, Args, ...) __global__ void __launch_bounds__(__VA_ARGS__) name(const Args args)
#define DODECA_SHARED(type, name, extents) __shared__ type name extents

namespace dodeca::gpu::cuda {

template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ uint4 dodeca_dynamic_shared[];
  return reinterpret_cast<T*>(dodeca_dynamic_shared);
}

// What is read once leaves L1 to what is read again.
__device__ __forceinline__ uint4 load_once(const uint4* from) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(from));
  return v;
}
__device__ __forceinline__ std::uint32_t load_once(const std::uint32_t* from) {
  std::uint32_t v;
  asm("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(from));
  return v;
}

__device__ __forceinline__ float bf16_to_f32(std::uint16_t bits) {
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
}
// To nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ std::uint16_t f32_to_bf16(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 64u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
__device__ __forceinline__ float f16_to_f32(std::uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
__device__ __forceinline__ std::uint16_t f32_to_f16(float value) {
  std::uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

}  // namespace dodeca::gpu::cuda

#else
#include "gpu/emulation/builtins.hpp"
#endif
