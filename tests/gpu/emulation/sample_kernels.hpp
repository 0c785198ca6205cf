// Small kernels for tests of the emulation: right ones here, wrong ones in wrong_kernels.hpp. In no list: launched by their
// symbols.
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

namespace emulated {
extern const emulation::Kernel block_sum_kernel, warp_functions_kernel;
}

}  // namespace dodeca::gpu
