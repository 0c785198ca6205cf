// The variants of norm.inc and add_and_weigh.inc, declared; contract in norm.hpp.
#pragma once

#include <cstdint>

namespace dodeca::cpu {

using RmsNormFn = void(const float* x, const float* weight, std::int64_t n, float eps, float* out) noexcept;
using AddAndWeighFn = float(const float* x, const float* add, const float* weight, std::int64_t n, float* sum,
                            float* out) noexcept;

#define KERNEL(isa, function) \
  namespace isa {             \
  RmsNormFn function;         \
  }
#include "cpu/kernels/norm/norm.inc"
#undef KERNEL

#define KERNEL(isa, function) \
  namespace isa {             \
  AddAndWeighFn function;     \
  }
#include "cpu/kernels/norm/add_and_weigh.inc"
#undef KERNEL

}  // namespace dodeca::cpu
