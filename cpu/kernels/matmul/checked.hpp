// Where checks are on, every product of the lists is entered through its contract (matmul_args.hpp).
#pragma once

#include "cpu/kernels/matmul/matmul_args.hpp"
#include "quant/check.hpp"

namespace dodeca::cpu {

void check_matmul(const MatmulArgs& args) noexcept;

template <MatmulFn kKernel>
void run_checked(const MatmulArgs& args) noexcept {
  check_matmul(args);
  kKernel(args);
}

template <MatmulFn kKernel>
constexpr MatmulFn checked() {
  return kChecks ? run_checked<kKernel> : kKernel;
}

}  // namespace dodeca::cpu
