// Activation rows as the matrix products read them: int8 with one f32 scale per block, and exact integer sums.
//
// A group (group.hpp, top 127) is a block of 256 (kQ8_256) or 32 (kQ8_32). The same bits at every ISA level: amax is
// exact, products and rounding are single IEEE operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/isa.hpp"
#include "cpu/kernels/kernel_list.hpp"
#include "cpu/kernels/quantize_act/quantize_act_kernels.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu {

// Bytes of one activation row, rounded up to 64.
std::size_t act_row_bytes(ActFormat format, std::int64_t n);
// x: n floats; dst: act_row_bytes(format, n), 64-byte aligned. n is a multiple of the format's block (1 for kF32: a
// copy).
void quantize_act(ActFormat format, const float* x, std::int64_t n, std::byte* dst, Isa isa) noexcept;

// The variants behind it, for the integer formats.
std::span<const KernelVariant<QuantizeActFn>> quantize_act_kernels();

}  // namespace dodeca::cpu
