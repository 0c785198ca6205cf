// The factors of a row's blocks, set from outside: for weights that are made up (runtime/model/random_blocks.hpp, tests).
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"

namespace dodeca::quant {

enum class FactorKind {
  kNone,    // values are their own factors, or the scale is no f16
  kScale,   // d
  kAffine,  // d, and dmin or m
};
FactorKind factor_kind(DType dtype);

// Every block of a row of n weights gets these factors (and a row scale d, where the type has one instead), rounded to
// what it can hold; codes stay as they are. Does nothing for kNone.
void set_factors(DType dtype, std::byte* row, std::int64_t n, float d, float m);

}  // namespace dodeca::quant
