// One row of any type that is searched for, with V's lanes: the definition of encode_row (V = Lane) and of the kernels.
// False for the other types.
#pragma once

#include "quant/dtype.hpp"
#include "quant/encode/k_types.hpp"

namespace dodeca::quant {

template <class V, bool kWeighted>
bool encode_row_searching(DType dtype, const float* x, const float* importance, std::byte* dst, std::int64_t n) {
  switch (dtype) {
    case DType::kQ2_K:
      encode_affine_super<V, BlockQ2_K, 16, kWeighted>(x, importance, dst, n, 3, 15, {4, 4, 0.0f, 0.05f, 2}, 2, 2);
      return true;
    case DType::kQ4_K:
      encode_affine_super<V, BlockQ4_K, 32, kWeighted>(x, importance, dst, n, 15, 63, {4, 4, -0.015f, 0.015f, 2}, 2, 1);
      return true;
    case DType::kQ5_K:
      encode_affine_super<V, BlockQ5_K, 32, kWeighted>(x, importance, dst, n, 31, 63, {4, 4, -0.01f, 0.01f, 2}, 2, 1);
      return true;
    case DType::kQ3_K:
      encode_symmetric_super<V, BlockQ3_K, kWeighted>(x, importance, dst, n, {4, -32, 31, {8, -0.9f, 0.25f, 2}, 2, 1});
      return true;
    case DType::kQ6_K:
      encode_symmetric_super<V, BlockQ6_K, kWeighted>(x, importance, dst, n,
                                                      {32, -128, 127, {5, -0.5f, 0.25f, 1}, 1, 1});
      return true;
    default:
      return false;
  }
}

template <class V>
bool encode_row_searching(DType dtype, const float* x, std::byte* dst, std::int64_t n, const float* importance) {
  return importance != nullptr ? encode_row_searching<V, true>(dtype, x, importance, dst, n)
                               : encode_row_searching<V, false>(dtype, x, nullptr, dst, n);
}

}  // namespace dodeca::quant
