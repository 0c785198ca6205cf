// A trial of the chosen product kernels on this very processor, before a model is loaded: each multiplies a tile of
// random weights with few and with many rows and must give what its scalar definition gives. Milliseconds; a kernel
// that is wrong here (a processor fault, a hypervisor that hides or breaks an instruction) would otherwise only show as
// bad text.
#pragma once

#include "runtime/plan/plan.hpp"

namespace dodeca::runtime {

// Throws Error{kUnsupported} that names the kernel and the first wrong value.
void self_test(const Plan& plan);

// One kernel against the scalar variant of its type, as self_test does.
void self_test(const cpu::MatmulKernel& kernel);

}  // namespace dodeca::runtime
