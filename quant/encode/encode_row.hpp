// One row of any type that is searched for, with V's lanes: the definition of encode_row (V = Lane) and of the kernels.
#pragma once

#include "quant/dtype.hpp"
#include "quant/encode/iq1.hpp"
#include "quant/encode/iq2.hpp"
#include "quant/encode/iq3.hpp"
#include "quant/encode/iq4.hpp"
#include "quant/encode/k_types.hpp"
#include "quant/encode/legacy.hpp"

namespace dodeca::quant {

// False for a type that is not searched for.
template <class V, DType T, bool kEncodable>
bool search_row(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
  if constexpr (!kEncodable) {
    return false;
  } else if constexpr (requires { Encoder<T>::template run<V>(x, importance, dst, n); }) {
    Encoder<T>::template run<V>(x, importance, dst, n);
    return true;
  } else {
    importance != nullptr ? Encoder<T>::template run<V, true>(x, importance, dst, n)
                          : Encoder<T>::template run<V, false>(x, nullptr, dst, n);
    return true;
  }
}

template <class V>
bool encode_row_searching(DType dtype, const float* x, std::byte* dst, std::int64_t n, const float* importance) {
  switch (dtype) {
#define TYPE(...)
#define BLOCKS(name, lower, id, elements, bytes, prefix, encodable, ...) \
  case DType::k##name:                                                   \
    return search_row<V, DType::k##name, encodable>(x, importance, dst, n);
#include "quant/types.inc"
    default:
      return false;
  }
}

}  // namespace dodeca::quant
