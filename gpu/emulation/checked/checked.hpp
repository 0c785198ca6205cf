// The emulation with every access of kernels observed: out of bounds of any memory of the device, shared memory that
// is read before it is written, and races in shared memory (two threads touch the same byte between two barriers, one
// of them writes). For tests: a library of its own, dodeca_gpu_checked, that programs do not link. Some ten times
// slower.
//
// The kernels are compiled with -fsanitize=thread, which calls a function for every access; those functions are here,
// and ThreadSanitizer's own library is not linked.
#pragma once

#include "gpu/emulation/emulation.hpp"

namespace dodeca::gpu::emulation {

// `options` with the observed kernels and the observer.
EmulationOptions checked(EmulationOptions options);

}  // namespace dodeca::gpu::emulation
