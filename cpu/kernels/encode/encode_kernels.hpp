// The variants of encode.inc, declared; contract in encode.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"

namespace dodeca::cpu {

using EncodeRowFn = bool(quant::DType dtype, const float* src, std::byte* dst, std::int64_t n,
                         const float* importance) noexcept;

#define KERNEL(isa, function) \
  namespace isa {             \
  EncodeRowFn function;       \
  }
#include "cpu/kernels/encode/encode.inc"
#undef KERNEL

}  // namespace dodeca::cpu
