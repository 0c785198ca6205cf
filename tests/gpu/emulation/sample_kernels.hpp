// Small kernels for tests of the emulation: right ones here, wrong ones in wrong_kernels.hpp. In no list: launched by
// their symbols.
#pragma once

#include <cstdint>

#include "gpu/emulation/block.hpp"

namespace dodeca::gpu {

// out[b] = sum of the block's values of `in`, through shuffles and shared memory.
struct BlockSumArgs {
  float* out;       // [blocks]
  const float* in;  // [blocks, threads]
};
// out[i] = what a function of the warp gives lane i; one warp. One row of 32 words for each function.
struct WarpFunctionsArgs {
  std::uint32_t* out;       // [kWarpFunctions, 32]
  const std::uint32_t* in;  // [32]
};
inline constexpr int kWarpFunctions = 14;

// c = a * b of 16 x depth and depth x 8, one warp; depth 16 for bf16 and f16, 32 for int8.
// Fragments by the formulas of the PTX manual, or by ldmatrix.
struct ProductArgs {
  void* c;        // [16, 8], float or int
  const void* a;  // [16, depth]
  const void* b;  // [depth, 8]; for s8_by_ldmatrix [8, depth]
};

#define SAMPLE_KERNELS(KERNEL) \
  KERNEL(block_sum)            \
  KERNEL(warp_functions)       \
  KERNEL(product_bf16)         \
  KERNEL(product_f16)          \
  KERNEL(product_s8)           \
  KERNEL(product_by_ldmatrix)  \
  KERNEL(product_s8_by_ldmatrix)

#define DECLARE(name) extern const emulation::Kernel name##_kernel;
namespace emulated {
SAMPLE_KERNELS(DECLARE)
}
namespace checked {
SAMPLE_KERNELS(DECLARE)
}
#undef DECLARE

// A kernel compiled in both ways.
struct SampleKernel {
  const emulation::Kernel &plain, &checked;
};
#define SAMPLE_KERNEL(name) (::dodeca::gpu::SampleKernel{emulated::name##_kernel, checked::name##_kernel})

}  // namespace dodeca::gpu
