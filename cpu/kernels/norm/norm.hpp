// RMSNorm: out = x / sqrt(mean(x^2) + eps) * weight. The mean is summed in 16 interleaved float lanes combined
// pairwise, the same at every ISA level. out may be x.
#pragma once

#include <cstdint>
#include <span>

#include "cpu/isa.hpp"
#include "cpu/kernels/kernel_list.hpp"
#include "cpu/kernels/norm/norm_kernels.hpp"

namespace dodeca::cpu {

// x, weight, out: n floats each, n >= 1. A NaN in x makes the whole row NaN, an infinity itself NaN and the rest zero.
void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out, Isa isa) noexcept;

std::span<const KernelVariant<RmsNormFn>> rms_norm_kernels();

}  // namespace dodeca::cpu
