// The variants of peak.inc, declared; contract in peak.hpp.
#pragma once

#include <cstdint>

namespace dodeca::cpu {

using PeakFn = double(std::int64_t rounds) noexcept;

#define KERNEL(isa, kind, function) \
  namespace isa {                   \
  PeakFn function;                  \
  }
#include "cpu/kernels/peak/peak.inc"
#undef KERNEL

}  // namespace dodeca::cpu
