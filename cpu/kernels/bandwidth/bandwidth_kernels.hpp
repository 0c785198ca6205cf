// The variants of bandwidth.inc, declared; contract in bandwidth.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dodeca::cpu {

using XorOfFn = std::uint64_t(const std::byte* data, std::size_t bytes) noexcept;

#define KERNEL(isa, function) \
  namespace isa {             \
  XorOfFn function;           \
  }
#include "cpu/kernels/bandwidth/bandwidth.inc"
#undef KERNEL

}  // namespace dodeca::cpu
