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

// The same in pieces, for a row whose columns are finished one block after another: sum = x + add, out = sum * weight,
// and the sum of the squares of `sum`, in the lanes of rms_norm. What is left of the norm is one factor for the row:
// 1 / sqrt(all squares / n of the row + eps).
struct AddAndWeigh {
  const float* x;
  const float* add;  // null: nothing is added
  const float* weight;
  std::int64_t n;    // 1 or more
  float *sum, *out;  // may be x
};
float add_and_weigh(const AddAndWeigh& args, Isa isa) noexcept;

std::span<const KernelVariant<RmsNormFn>> rms_norm_kernels();
std::span<const KernelVariant<AddAndWeighFn>> add_and_weigh_kernels();

}  // namespace dodeca::cpu
