// The searches of IQ1_S and IQ1_M.
#pragma once

#include "quant/encode/encoder.hpp"
#include "quant/encode/ternary.hpp"
#include "quant/formats/iq1.hpp"

namespace dodeca::quant {

template <>
struct Encoder<DType::kIQ1_S> {
  template <class V>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_ternary<V, Format<DType::kIQ1_S>, 32, 32>(x, importance, dst, n);
  }
};

template <>
struct Encoder<DType::kIQ1_M> {
  template <class V>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_ternary<V, Format<DType::kIQ1_M>, 16, 8>(x, importance, dst, n);
  }
};

}  // namespace dodeca::quant
