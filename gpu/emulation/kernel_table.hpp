// The kernels of gpu/kernels compiled for the host, by KernelId.
#pragma once

#include "gpu/emulation/block.hpp"
#include "gpu/kernels/kernel_id.hpp"

namespace dodeca::gpu::emulation {

using KernelTable = const Kernel* const*;  // [kKernels]

// As they are. The checked ones are in the library dodeca_gpu_checked (gpu/emulation/checked/checked.hpp).
KernelTable plain_kernels();

}  // namespace dodeca::gpu::emulation
