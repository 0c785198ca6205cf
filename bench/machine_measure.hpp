// This machine's figures as `dodeca plan --machine FILE` wants them: read bandwidth and barriers by number of threads,
// the rates of all kernels, the clock.
#pragma once

#include "runtime/cli/console.hpp"
#include "runtime/predict/machine_spec.hpp"

namespace dodeca::bench {

// About so many seconds; at least a few measurements of each kind, however short that is. Throws Error{kDoesNotFit}.
runtime::predict::MachineSpec measure_machine(double seconds, cpu::Isa isa, const runtime::cli::Console& console);

}  // namespace dodeca::bench
