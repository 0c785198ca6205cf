// The variants of activation.inc and clamped_swiglu.inc, declared; contract in activation.hpp.
#pragma once

#include <cstdint>

namespace dodeca::cpu {

using SwigluFn = void(const float* gate, const float* up, std::int64_t n, float* out) noexcept;

#define KERNEL(isa, function) \
  namespace isa {             \
  SwigluFn function;          \
  }
#include "cpu/kernels/activation/activation.inc"
#include "cpu/kernels/activation/clamped_swiglu.inc"
#undef KERNEL

}  // namespace dodeca::cpu
