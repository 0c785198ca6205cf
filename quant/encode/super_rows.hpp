// Rows of super-blocks: from the search's result to blocks.
#pragma once

#include <cstddef>
#include <cstring>

#include "quant/encode/affine_super.hpp"
#include "quant/encode/symmetric_super.hpp"
#include "quant/formats/format.hpp"

namespace dodeca::quant {

// l = nearest((x + min) / scale) in [0, levels], n weights in their natural order.
template <class V>
DODECA_LANE void affine_levels(const float* x, int n, float inverse, float offset, float levels, std::uint8_t* l) {
  for (int i = 0; i < n; i += V::kCount) {
    round(min(max(fma(V::load(x + i), V(inverse), V(offset)), V(0.0f)), V(levels))).store_codes(l + i);
  }
}

template <class V, class Format, bool kWeighted>
void encode_affine_super(const float* x, const float* importance, std::byte* dst, std::int64_t n,
                         const AffineSuperSpec& spec) {
  using Block = typename Format::Block;
  constexpr int kSub = Format::kSub, kPerBlock = 256 / kSub, kWeights = kTileLanes * kSub;
  Tile<kSub> tile;
  AffineCodes codes;
  for (std::int64_t i = 0; i < n; i += kWeights) {
    const int n_lanes = n - i < kWeights ? static_cast<int>((n - i) / kSub) : kTileLanes;
    load_tile<V, kSub>(x + i, kWeighted ? importance + i : nullptr, n_lanes, tile);
    AffineSuper<kSub, kWeighted, V>::search(tile, spec, codes);
    for (int first = 0; first < n_lanes; first += kPerBlock, dst += sizeof(Block)) {
      RowBlock numbers;
      numbers.d = f32_to_f16(codes.d[first]);
      numbers.m = f32_to_f16(codes.dmin[first]);
      for (int k = 0; k < kPerBlock; ++k) {
        const int lane = first + k;
        numbers.scale[k] = static_cast<std::uint8_t>(codes.scale[lane]);
        numbers.min[k] = static_cast<std::uint8_t>(codes.min[lane]);
        const float scale = codes.d[lane] * codes.scale[lane], min_value = codes.dmin[lane] * codes.min[lane];
        const float inverse = inverse_of(Lane(scale)).v;
        affine_levels<V>(x + i + lane * kSub, kSub, inverse, min_value * inverse, spec.max_level,
                         numbers.code + k * kSub);
      }
      Block block{};
      Format::write(numbers, block);
      std::memcpy(dst, &block, sizeof block);
    }
  }
}

template <class V, class Levels>
DODECA_LANE void symmetric_codes(const float* x, int n, float inverse, const Levels& levels, std::uint8_t* l) {
  for (int i = 0; i < n; i += V::kCount) levels.code(V::load(x + i) * V(inverse)).store_codes(l + i);
}

template <class V, class Format, bool kWeighted, class Levels>
void encode_symmetric_super(const float* x, const float* importance, std::byte* dst, std::int64_t n,
                            const SymmetricSuperSpec<Levels>& spec) {
  using Block = typename Format::Block;
  constexpr int kSub = Format::kSub, kPerBlock = 256 / kSub, kWeights = kTileLanes * kSub;
  Tile<kSub> tile;
  SymmetricCodes codes;
  for (std::int64_t i = 0; i < n; i += kWeights) {
    const int n_lanes = n - i < kWeights ? static_cast<int>((n - i) / kSub) : kTileLanes;
    load_tile<V, kSub>(x + i, kWeighted ? importance + i : nullptr, n_lanes, tile);
    SymmetricSuper<kSub, kWeighted, V, Levels>::search(tile, spec, codes);
    for (int first = 0; first < n_lanes; first += kPerBlock, dst += sizeof(Block)) {
      RowBlock numbers;
      numbers.d = f32_to_f16(codes.d[first]);
      for (int k = 0; k < kPerBlock; ++k) {
        const int lane = first + k;
        numbers.scale[k] = static_cast<std::uint8_t>(static_cast<int>(codes.scale[lane]) + spec.first_code);
        const float inverse = signed_inverse_of(Lane(codes.scale[lane] * codes.d[lane])).v;
        symmetric_codes<V>(x + i + lane * kSub, kSub, inverse, spec.levels, numbers.code + k * kSub);
      }
      Block block{};
      Format::write(numbers, block);
      std::memcpy(dst, &block, sizeof block);
    }
  }
}

}  // namespace dodeca::quant
