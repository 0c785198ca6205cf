// The variants of matmul.inc, declared.
#pragma once

#include "cpu/kernels/matmul/matmul_args.hpp"

namespace dodeca::cpu {

#define KERNEL(isa, dtype, weights)                     \
  namespace isa {                                       \
  void gemv_##weights(const MatmulArgs& args) noexcept; \
  void gemm_##weights(const MatmulArgs& args) noexcept; \
  }
#define ONEDNN(isa, dtype, weights)                     \
  namespace onednn {                                    \
  void gemm_##weights(const MatmulArgs& args) noexcept; \
  }
#include "cpu/kernels/matmul/matmul.inc"
#undef KERNEL

}  // namespace dodeca::cpu
