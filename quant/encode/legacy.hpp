// The searches of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0. Without importance they are made nearly as fast as memory allows, with
// fewer trials.
#pragma once

#include "quant/encode/encoder.hpp"
#include "quant/encode/small_rows.hpp"
#include "quant/formats/legacy.hpp"

namespace dodeca::quant {

template <>
struct Encoder<DType::kQ4_0> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    constexpr SymmetricTrials kTrials =
        kWeighted ? SymmetricTrials{.count = 9, .first = -0.1f, .step = 0.03f, .both = true, .refits = 2}
                  : SymmetricTrials{.count = 3, .first = -0.06f, .step = 0.06f, .both = false, .refits = 1};
    encode_symmetric_small<V, Format<DType::kQ4_0>, kWeighted, false, WholeLevels>(
        x, importance, dst, n, {.levels = {.least = -8, .most = 7}, .trials = kTrials});
  }
};

template <>
struct Encoder<DType::kQ5_0> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    constexpr SymmetricTrials kTrials =
        kWeighted ? SymmetricTrials{.count = 9, .first = -0.06f, .step = 0.015f, .both = true, .refits = 2}
                  : SymmetricTrials{.count = 4, .first = -0.04f, .step = 0.02f, .both = false, .refits = 1};
    encode_symmetric_small<V, Format<DType::kQ5_0>, kWeighted, false, WholeLevels>(
        x, importance, dst, n, {.levels = {.least = -16, .most = 15}, .trials = kTrials});
  }
};

template <>
struct Encoder<DType::kQ8_0> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_symmetric_small<V, Format<DType::kQ8_0>, kWeighted, true, WholeLevels>(
        x, importance, dst, n,
        {.levels = {.least = -127, .most = 127},
         .trials = {.count = 6, .first = -0.02f, .step = 0.005f, .both = false, .refits = 0},
         .first_code = -127});
  }
};

template <>
struct Encoder<DType::kQ4_1> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    constexpr AffineTrials kTrials =
        kWeighted ? AffineTrials{.low_cuts = 4, .high_cuts = 4, .first = -0.015f, .step = 0.015f, .refits = 2}
                  : AffineTrials{.low_cuts = 1, .high_cuts = 1, .first = 0.01f, .step = 0.0f, .refits = 1};
    encode_affine_small<V, Format<DType::kQ4_1>, kWeighted>(x, importance, dst, n, 15, kTrials);
  }
};

template <>
struct Encoder<DType::kQ5_1> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    constexpr AffineTrials kTrials =
        kWeighted ? AffineTrials{.low_cuts = 4, .high_cuts = 4, .first = -0.01f, .step = 0.01f, .refits = 2}
                  : AffineTrials{.low_cuts = 1, .high_cuts = 2, .first = 0.0f, .step = 0.01f, .refits = 1};
    encode_affine_small<V, Format<DType::kQ5_1>, kWeighted>(x, importance, dst, n, 31, kTrials);
  }
};

}  // namespace dodeca::quant
