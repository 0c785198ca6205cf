// The variants of quantize_act.inc, declared; contract in quantize_act.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/matmul/matmul_args.hpp"

namespace dodeca::cpu {

using QuantizeActFn = void(ActFormat format, const float* x, std::int64_t n, std::byte* dst) noexcept;

#define KERNEL(isa, function) \
  namespace isa {             \
  QuantizeActFn function;     \
  }
#include "cpu/kernels/quantize_act/quantize_act.inc"
#undef KERNEL

}  // namespace dodeca::cpu
