// The searches of the K types.
#pragma once

#include "quant/encode/encoder.hpp"
#include "quant/encode/super_rows.hpp"
#include "quant/formats/k_types.hpp"

namespace dodeca::quant {

template <>
struct Encoder<DType::kQ2_K> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_affine_super<V, Format<DType::kQ2_K>, kWeighted>(
        x, importance, dst, n,
        {.max_level = 3,
         .max_code = 15,
         .trials = {.low_cuts = 4, .high_cuts = 4, .first = 0.0f, .step = 0.05f, .refits = 2},
         .rounds = 2,
         .reach = 2});
  }
};

template <>
struct Encoder<DType::kQ4_K> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_affine_super<V, Format<DType::kQ4_K>, kWeighted>(
        x, importance, dst, n,
        {.max_level = 15,
         .max_code = 63,
         .trials = {.low_cuts = 4, .high_cuts = 4, .first = -0.015f, .step = 0.015f, .refits = 2},
         .rounds = 2,
         .reach = 1});
  }
};

template <>
struct Encoder<DType::kQ5_K> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_affine_super<V, Format<DType::kQ5_K>, kWeighted>(
        x, importance, dst, n,
        {.max_level = 31,
         .max_code = 63,
         .trials = {.low_cuts = 4, .high_cuts = 4, .first = -0.01f, .step = 0.01f, .refits = 2},
         .rounds = 2,
         .reach = 1});
  }
};

template <>
struct Encoder<DType::kQ3_K> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_symmetric_super<V, Format<DType::kQ3_K>, kWeighted, WholeLevels>(
        x, importance, dst, n,
        {.levels = {.least = -4, .most = 3},
         .least_code = -32,
         .most_code = 31,
         .first_code = 32,
         .trials = {.count = 8, .first = -0.22f, .step = 0.06f, .both = true, .refits = 2},
         .rounds = 2,
         .reach = 1});
  }
};

template <>
struct Encoder<DType::kQ6_K> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_symmetric_super<V, Format<DType::kQ6_K>, kWeighted, WholeLevels>(
        x, importance, dst, n,
        {.levels = {.least = -32, .most = 31},
         .least_code = -128,
         .most_code = 127,
         .first_code = 0,
         .trials = {.count = 5, .first = -0.03f, .step = 0.01f, .both = true, .refits = 1},
         .rounds = 1,
         .reach = 1});
  }
};

}  // namespace dodeca::quant
