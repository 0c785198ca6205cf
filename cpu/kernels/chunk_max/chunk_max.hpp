// The largest value of every chunk of a long list: one pass after which the largest of all, and the k largest, are found
// by looking into a few chunks. Same bits at every ISA level.
#pragma once

#include <cstdint>
#include <span>

#include "cpu/isa.hpp"
#include "cpu/kernels/chunk_max/chunk_max_kernels.hpp"
#include "cpu/kernels/kernel_list.hpp"

namespace dodeca::cpu {

constexpr std::int64_t chunks_of(std::int64_t n) { return (n + kMaxChunk - 1) / kMaxChunk; }

// maxima[i], i < chunks_of(n): the largest of values [i * kMaxChunk, (i + 1) * kMaxChunk), as far as there are n. NaN when
// one of them is; a zero is +0.
void chunk_maxima(const float* values, std::int64_t n, float* maxima, Isa isa) noexcept;

std::span<const KernelVariant<ChunkMaximaFn>> chunk_maxima_kernels();

}  // namespace dodeca::cpu
