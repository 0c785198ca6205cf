// One row of any type that is searched for, with V's lanes: the definition of encode_row (V = Lane) and of the kernels.
// False for the other types.
#pragma once

#include "quant/dtype.hpp"
#include "quant/encode/k_types.hpp"
#include "quant/encode/lattice.hpp"
#include "quant/encode/small_types.hpp"
#include "quant/encode/ternary.hpp"

namespace dodeca::quant {

template <class V, bool kWeighted>
bool encode_row_searching(DType dtype, const float* x, const float* importance, std::byte* dst, std::int64_t n) {
  // Without importance the small types are made as fast as memory allows nearly, with fewer trials.
  constexpr SymmetricTrials trials4 =
      kWeighted ? SymmetricTrials{9, -0.1f, 0.03f, true, 2} : SymmetricTrials{3, -0.06f, 0.06f, false, 1};
  constexpr SymmetricTrials trials5 =
      kWeighted ? SymmetricTrials{9, -0.06f, 0.015f, true, 2} : SymmetricTrials{4, -0.04f, 0.02f, false, 1};
  constexpr AffineTrials affine4 =
      kWeighted ? AffineTrials{4, 4, -0.015f, 0.015f, 2} : AffineTrials{1, 1, 0.01f, 0.0f, 1};
  constexpr AffineTrials affine5 =
      kWeighted ? AffineTrials{4, 4, -0.01f, 0.01f, 2} : AffineTrials{1, 2, 0.0f, 0.01f, 1};
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
      encode_symmetric_super<V, BlockQ3_K, 16, kWeighted>(
          x, importance, dst, n, SymmetricSuperSpec<WholeLevels>{{-4, 3}, -32, 31, {8, -0.22f, 0.06f, true, 2}, 2, 1});
      return true;
    case DType::kQ6_K:
      encode_symmetric_super<V, BlockQ6_K, 16, kWeighted>(
          x, importance, dst, n,
          SymmetricSuperSpec<WholeLevels>{{-32, 31}, -128, 127, {5, -0.03f, 0.01f, true, 1}, 1, 1});
      return true;
    case DType::kIQ4_XS:
      encode_symmetric_super<V, BlockIQ4_XS, 32, kWeighted>(
          x, importance, dst, n, SymmetricSuperSpec<Iq4Levels>{{}, -32, 31, {8, -0.09f, 0.025f, true, 2}, 2, 1});
      return true;
    case DType::kQ4_0:
      encode_symmetric_small<V, BlockQ4_0, kWeighted, false>(x, importance, dst, n, WholeLevels{-8, 7}, trials4);
      return true;
    case DType::kQ5_0:
      encode_symmetric_small<V, BlockQ5_0, kWeighted, false>(x, importance, dst, n, WholeLevels{-16, 15}, trials5);
      return true;
    case DType::kQ8_0:
      encode_symmetric_small<V, BlockQ8_0, kWeighted, true>(x, importance, dst, n, WholeLevels{-127, 127},
                                                            {6, -0.02f, 0.005f, false, 0});
      return true;
    case DType::kIQ4_NL:
      encode_symmetric_small<V, BlockIQ4_NL, kWeighted, false>(x, importance, dst, n, Iq4Levels{},
                                                               {8, -0.09f, 0.025f, true, 2});
      return true;
    case DType::kQ4_1:
      encode_affine_small<V, BlockQ4_1, kWeighted>(x, importance, dst, n, 15, affine4);
      return true;
    case DType::kQ5_1:
      encode_affine_small<V, BlockQ5_1, kWeighted>(x, importance, dst, n, 31, affine5);
      return true;
    default:
      return false;
  }
}

// The types on lattices, where importance null means all alike.
template <class V>
bool encode_row_on_lattice(DType dtype, const float* x, const float* importance, std::byte* dst, std::int64_t n) {
  switch (dtype) {
    case DType::kIQ1_S:
      encode_ternary<V, BlockIQ1_S, 32, 32>(x, importance, dst, n);
      return true;
    case DType::kIQ1_M:
      encode_ternary<V, BlockIQ1_M, 16, 8>(x, importance, dst, n);
      return true;
    case DType::kIQ2_XXS:
      encode_lattice<V, BlockIQ2_XXS>(x, importance, dst, n,
                                      LatticeSpec<256, 8, 32, true>{kIq2xxsGrid, {8, 25, 43}, 16, 0.125f, 43, 2});
      return true;
    case DType::kIQ2_XS:
      encode_lattice<V, BlockIQ2_XS>(x, importance, dst, n,
                                     LatticeSpec<512, 8, 16, true>{kIq2xsGrid, {8, 25, 43}, 16, 0.125f, 43, 1});
      return true;
    case DType::kIQ2_S:
      encode_lattice<V, BlockIQ2_S>(x, importance, dst, n,
                                    LatticeSpec<1024, 8, 16, false>{kIq2sGrid, {8, 25, 43}, 16, 0.125f, 43, 1});
      return true;
    case DType::kIQ3_XXS:
      encode_lattice<V, BlockIQ3_XXS>(
          x, importance, dst, n,
          LatticeSpec<256, 4, 32, true>{kIq3xxsGrid, {4, 12, 20, 28, 36, 44, 52, 62}, 8, 0.25f, 62, 1});
      return true;
    case DType::kIQ3_S:
      encode_lattice<V, BlockIQ3_S>(
          x, importance, dst, n,
          LatticeSpec<512, 4, 32, false>{kIq3sGrid, {1, 3, 5, 7, 9, 11, 13, 15}, 2, 1.0f, 15, 1});
      return true;
    default:
      return false;
  }
}

template <class V>
bool encode_row_searching(DType dtype, const float* x, std::byte* dst, std::int64_t n, const float* importance) {
  if (encode_row_on_lattice<V>(dtype, x, importance, dst, n)) return true;
  return importance != nullptr ? encode_row_searching<V, true>(dtype, x, importance, dst, n)
                               : encode_row_searching<V, false>(dtype, x, nullptr, dst, n);
}

}  // namespace dodeca::quant
