// RMSNorm: out = x / sqrt(mean(x^2) + eps) * weight. The mean is summed in 16 interleaved float lanes combined pairwise, the
// same at every ISA level. out may be x.
#pragma once

#include <cstdint>

#include "cpu/isa.hpp"

namespace dodeca::cpu {

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out, Isa isa) noexcept;

}  // namespace dodeca::cpu
