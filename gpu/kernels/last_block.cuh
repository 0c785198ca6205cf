// Sums and choices over several blocks without a second launch: each block leaves its part in memory, and the last one to
// end puts the parts together in their own order. So the result does not depend on the order of blocks.
#pragma once

#include "gpu/kernels/dialect.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

// True in all threads of the block that comes last of n_blocks. What the threads of the others have written before is then
// visible. The counter is zero before and afterwards. All threads of a block call this.
__device__ inline bool is_last_block(std::uint32_t* counter, std::uint32_t n_blocks) {
  DODECA_SHARED(bool, last, [1]);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last[0] = atomicAdd(counter, 1u) + 1 == n_blocks;
    if (last[0]) *counter = 0;
    __threadfence();
  }
  __syncthreads();
  return last[0];
}

}  // namespace dodeca::gpu::DODECA_KERNELS
