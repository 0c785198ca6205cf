// quant::encode_row at the speed of the host: the same bits as there, whatever the level.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/isa.hpp"
#include "cpu/kernels/encode/encode_kernels.hpp"
#include "cpu/kernels/kernel_list.hpp"
#include "quant/dtype.hpp"

namespace dodeca::cpu {

// Contract of quant::encode_row (quant/codec.hpp).
void encode_row(quant::DType dtype, const float* src, std::byte* dst, std::int64_t n, const float* importance,
                Isa isa) noexcept;

// The variants behind it; false for a type that is not searched for, whose encoder is quant's alone.
std::span<const KernelVariant<EncodeRowFn>> encode_row_kernels();

}  // namespace dodeca::cpu
