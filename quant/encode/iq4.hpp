// The searches of the IQ4 types. MXFP4 is not made here.
#pragma once

#include "quant/encode/encoder.hpp"
#include "quant/encode/small_rows.hpp"
#include "quant/formats/iq4.hpp"

namespace dodeca::quant {

template <>
struct Encoder<DType::kIQ4_NL> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_symmetric_small<V, Format<DType::kIQ4_NL>, kWeighted, false, Iq4Levels>(
        x, importance, dst, n,
        {.levels = {}, .trials = {.count = 8, .first = -0.09f, .step = 0.025f, .both = true, .refits = 2}});
  }
};

template <>
struct Encoder<DType::kIQ4_XS> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_symmetric_super<V, Format<DType::kIQ4_XS>, kWeighted, Iq4Levels>(
        x, importance, dst, n,
        {.levels = {},
         .least_code = -32,
         .most_code = 31,
         .first_code = 32,
         .trials = {.count = 8, .first = -0.09f, .step = 0.025f, .both = true, .refits = 2},
         .rounds = 2,
         .reach = 1});
  }
};

}  // namespace dodeca::quant
