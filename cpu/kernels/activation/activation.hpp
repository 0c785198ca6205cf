// SwiGLU: out = silu(gate) * up, silu(x) = x / (1 + exp(-x)). exp is our own polynomial (cpu/kernels/exp.hpp), the same
// bits at every ISA level. silu is within 3 ulp while exp(-|x|) is a normal number, within 2e-43 beyond; silu(-inf) is
// -0, silu(inf) is inf, NaN stays NaN. out may be gate or up.
#pragma once

#include <cstdint>
#include <span>

#include "cpu/isa.hpp"
#include "cpu/kernels/activation/activation_kernels.hpp"
#include "cpu/kernels/kernel_list.hpp"

namespace dodeca::cpu {

// gate, up, out: n floats each, n >= 0.
void swiglu(const float* gate, const float* up, std::int64_t n, float* out, Isa isa) noexcept;

std::span<const KernelVariant<SwigluFn>> swiglu_kernels();

}  // namespace dodeca::cpu
