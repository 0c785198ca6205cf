// The searches of IQ3_XXS and IQ3_S.
#pragma once

#include "quant/encode/encoder.hpp"
#include "quant/encode/lattice.hpp"
#include "quant/formats/iq3.hpp"

namespace dodeca::quant {

template <>
struct Encoder<DType::kIQ3_XXS> {
  template <class V>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_lattice<V, Format<DType::kIQ3_XXS>>(
        x, importance, dst, n,
        LatticeSpec<256, 4, 32, true>{.grid = kIq3xxsGrid,
                                      .magnitudes = {4, 12, 20, 28, 36, 44, 52, 62},
                                      .step = 8,
                                      .unit = 0.25f,
                                      .largest = 62,
                                      .rounds = 1});
  }
};

template <>
struct Encoder<DType::kIQ3_S> {
  template <class V>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_lattice<V, Format<DType::kIQ3_S>>(x, importance, dst, n,
                                             LatticeSpec<512, 4, 32, false>{.grid = kIq3sGrid,
                                                                            .magnitudes = {1, 3, 5, 7, 9, 11, 13, 15},
                                                                            .step = 2,
                                                                            .unit = 1.0f,
                                                                            .largest = 15,
                                                                            .rounds = 1});
  }
};

}  // namespace dodeca::quant
