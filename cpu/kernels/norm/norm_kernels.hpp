// The variants of norm.inc, declared; contract in norm.hpp.
#pragma once

#include <cstdint>

namespace dodeca::cpu {

using RmsNormFn = void(const float* x, const float* weight, std::int64_t n, float eps, float* out) noexcept;

#define KERNEL(isa, function) \
  namespace isa {             \
  RmsNormFn function;         \
  }
#include "cpu/kernels/norm/norm.inc"
#undef KERNEL

}  // namespace dodeca::cpu
