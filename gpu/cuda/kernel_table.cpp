#include "gpu/cuda/kernel_table.hpp"

#include "gpu/kernels/all_args.hpp"

namespace dodeca::gpu::cuda {

// What nvcc makes of a kernel for the host: a function whose address stands for it.
#define KERNEL(name, args) void name(args);
#include "gpu/kernels/kernels.inc"
#undef KERNEL

const CardKernel& kernel_of(KernelId kernel) {
  static const CardKernel table[] = {
#define KERNEL(name, args) {reinterpret_cast<const void*>(&name), sizeof(args)},
#include "gpu/kernels/kernels.inc"
#undef KERNEL
  };
  return table[static_cast<int>(kernel)];
}

}  // namespace dodeca::gpu::cuda
