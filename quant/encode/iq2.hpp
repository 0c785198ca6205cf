// The searches of IQ2_XXS, IQ2_XS and IQ2_S.
#pragma once

#include "quant/encode/encoder.hpp"
#include "quant/encode/lattice.hpp"
#include "quant/formats/iq2.hpp"

namespace dodeca::quant {

template <>
struct Encoder<DType::kIQ2_XXS> {
  template <class V>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_lattice<V, Format<DType::kIQ2_XXS>>(
        x, importance, dst, n,
        LatticeSpec<256, 8, 32, true>{
            .grid = kIq2xxsGrid, .magnitudes = {8, 25, 43}, .step = 16, .unit = 0.125f, .largest = 43, .rounds = 2});
  }
};

template <>
struct Encoder<DType::kIQ2_XS> {
  template <class V>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_lattice<V, Format<DType::kIQ2_XS>>(
        x, importance, dst, n,
        LatticeSpec<512, 8, 16, true>{
            .grid = kIq2xsGrid, .magnitudes = {8, 25, 43}, .step = 16, .unit = 0.125f, .largest = 43, .rounds = 1});
  }
};

template <>
struct Encoder<DType::kIQ2_S> {
  template <class V>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_lattice<V, Format<DType::kIQ2_S>>(
        x, importance, dst, n,
        LatticeSpec<1024, 8, 16, false>{
            .grid = kIq2sGrid, .magnitudes = {8, 25, 43}, .step = 16, .unit = 0.125f, .largest = 43, .rounds = 1});
  }
};

}  // namespace dodeca::quant
