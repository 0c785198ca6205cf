// The variants of chunk_max.inc, declared; contract in chunk_max.hpp.
#pragma once

#include <cstdint>

namespace dodeca::cpu {

// Short enough that looking for the k largest reads little more than k chunks, long enough that there are few.
inline constexpr std::int64_t kMaxChunk = 128;

using ChunkMaximaFn = void(const float* values, std::int64_t n, float* maxima) noexcept;

#define KERNEL(isa, function) \
  namespace isa {             \
  ChunkMaximaFn function;     \
  }
#include "cpu/kernels/chunk_max/chunk_max.inc"
#undef KERNEL

}  // namespace dodeca::cpu
