// How a type is searched for: Encoder<T>, one specialisation per type in the header of its family, with
//   template <class V, bool kWeighted> run(x, importance, dst, n)   a row of n weights, V the lanes (lanes.hpp)
// or, where importance may be null in the same code, template <class V> run(...).
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"

namespace dodeca::quant {

template <DType T>
struct Encoder;

}  // namespace dodeca::quant
