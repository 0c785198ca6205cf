#include "gpu/emulation/checked/checked.hpp"

#include "gpu/emulation/checked/access_checker.hpp"

namespace dodeca::gpu {

namespace checked {
#define KERNEL(name, args) extern const emulation::Kernel name##_kernel;
#include "gpu/kernels/kernels.inc"
#undef KERNEL
}  // namespace checked

emulation::EmulationOptions emulation::checked(EmulationOptions options) {
  static const Kernel* const table[] = {
#define KERNEL(name, args) &gpu::checked::name##_kernel,
#include "gpu/kernels/kernels.inc"
#undef KERNEL
  };
  options.kernels = table;
  options.make_observer = [](const Memory& memory) -> std::unique_ptr<Observer> {
    return std::make_unique<AccessChecker>(memory);
  };
  return options;
}

}  // namespace dodeca::gpu
