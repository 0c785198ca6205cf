// SwiGLU: out = silu(gate) * up, silu(x) = x / (1 + exp(-x)). exp is our own polynomial, the same bits at every ISA level.
#pragma once

#include <cstdint>

#include "cpu/isa.hpp"

namespace dodeca::cpu {

void swiglu(const float* gate, const float* up, std::int64_t n, float* out, Isa isa) noexcept;

}  // namespace dodeca::cpu
