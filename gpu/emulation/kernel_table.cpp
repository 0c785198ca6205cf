#include "gpu/emulation/kernel_table.hpp"

namespace dodeca::gpu {

namespace emulated {
#define KERNEL(name, args) extern const emulation::Kernel name##_kernel;
#include "gpu/kernels/kernels.inc"
#undef KERNEL
}  // namespace emulated

emulation::KernelTable emulation::plain_kernels() {
  static const Kernel* const table[] = {
#define KERNEL(name, args) &emulated::name##_kernel,
#include "gpu/kernels/kernels.inc"
#undef KERNEL
  };
  return table;
}

}  // namespace dodeca::gpu
