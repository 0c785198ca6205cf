// SwiGLU: out = silu(gate) * up, silu(x) = x / (1 + exp(-x)). exp is our own polynomial (cpu/kernels/exp.hpp), the same
// bits at every ISA level. silu is within 3 ulp while exp(-|x|) is a normal number, within 2e-43 beyond; silu(-inf) is
// -0, silu(inf) is inf, NaN stays NaN. out may be gate or up.
//
// Clamped SwiGLU (gpt-oss): out = g / (1 + exp(-1.702 g)) * (u + 1), g = min(gate, 7), u = up within -7 and 7. NaN
// stays NaN; gate -inf gives -0 or 0.
#pragma once

#include <cstdint>
#include <span>

#include "cpu/isa.hpp"
#include "cpu/kernels/activation/activation_kernels.hpp"
#include "cpu/kernels/kernel_list.hpp"

namespace dodeca::cpu {

// gate, up, out: n floats each, n >= 0.
void swiglu(const float* gate, const float* up, std::int64_t n, float* out, Isa isa) noexcept;

void clamped_swiglu(const float* gate, const float* up, std::int64_t n, float* out, Isa isa) noexcept;

std::span<const KernelVariant<SwigluFn>> swiglu_kernels();
std::span<const KernelVariant<SwigluFn>> clamped_swiglu_kernels();

}  // namespace dodeca::cpu
