// The read that memory bandwidth is measured with: every byte once, in order, nothing else. data is 64-byte aligned,
// bytes a multiple of 512. Returns the exclusive or of all 64-bit words, so that no read can be left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/isa.hpp"
#include "cpu/kernels/bandwidth/bandwidth_kernels.hpp"
#include "cpu/kernels/kernel_list.hpp"

namespace dodeca::cpu {

std::uint64_t xor_of(const std::byte* data, std::size_t bytes, Isa isa) noexcept;

std::span<const KernelVariant<XorOfFn>> xor_of_kernels();

}  // namespace dodeca::cpu
