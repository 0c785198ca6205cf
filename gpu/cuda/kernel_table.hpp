// The kernels of gpu/kernels compiled for cards, by KernelId: what cudaLaunchKernel takes.
#pragma once

#include <cstddef>

#include "gpu/kernels/kernel_id.hpp"

namespace dodeca::gpu::cuda {

struct CardKernel {
  const void* entry;
  std::size_t args_bytes;
};
const CardKernel& kernel_of(KernelId kernel);

}  // namespace dodeca::gpu::cuda
