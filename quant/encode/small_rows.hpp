// Rows of blocks of 32: Q4_0, Q5_0, Q8_0, IQ4_NL (a scale), Q4_1, Q5_1 (a scale and an offset of either sign).
#pragma once

#include <cstddef>
#include <cstring>

#include "quant/encode/super_rows.hpp"

namespace dodeca::quant {

// The best of trials.count scales around extreme / extreme level, by exact error: for formats so fine that the gain of
// symmetric_search drowns in rounding.
template <bool kWeighted, class V, class Levels>
DODECA_LANE V symmetric_scan(const float* x, const float* w, const Levels& levels, const SymmetricTrials& trials) {
  const V unit = extreme_of<32, V>(x) * V(1.0f / levels.extreme());
  V best_scale = unit, best_error(3e38f);
  for (int t = 0; t < trials.count; ++t) {
    const V scale = unit * V(1.0f + trials.first + trials.step * static_cast<float>(t));
    const V error = symmetric_error<32, kWeighted>(x, w, scale, levels);
    const auto better = error < best_error;
    best_error = select(better, error, best_error);
    best_scale = select(better, scale, best_scale);
  }
  return best_scale;
}

template <class Levels>
struct SymmetricSmallSpec {
  Levels levels;
  SymmetricTrials trials;
  int first_code = 0;  // what is stored for the least level
};

template <class V, class Format, bool kWeighted, bool kScan, class Levels>
void encode_symmetric_small(const float* x, const float* importance, std::byte* dst, std::int64_t n,
                            const SymmetricSmallSpec<Levels>& spec) {
  using Block = typename Format::Block;
  const Levels& levels = spec.levels;
  const SymmetricTrials& trials = spec.trials;
  constexpr int kWeights = kTileLanes * 32;
  Tile<32> tile;
  alignas(64) float scales[kTileLanes];
  for (std::int64_t i = 0; i < n; i += kWeights) {
    const int n_lanes = n - i < kWeights ? static_cast<int>((n - i) / 32) : kTileLanes;
    load_tile<V, 32>(x + i, kWeighted ? importance + i : nullptr, n_lanes, tile);
    for (int k = 0; k < kTileLanes; k += V::kCount) {
      if constexpr (kScan) {
        symmetric_scan<kWeighted, V>(tile.x + k, tile.w + k, levels, trials).store(scales + k);
      } else {
        symmetric_search<32, kWeighted, V>(tile.x + k, tile.w + k, levels, trials).scale.store(scales + k);
      }
    }
    for (int lane = 0; lane < n_lanes; ++lane, dst += sizeof(Block)) {
      RowBlock numbers;
      numbers.d = finite_f16(scales[lane]);
      symmetric_codes<V>(x + i + lane * 32, 32, signed_inverse_of(Lane(f16_to_f32(numbers.d))).v, levels, numbers.code);
      if (spec.first_code != 0) {
        for (int k = 0; k < 32; ++k) numbers.code[k] = static_cast<std::uint8_t>(numbers.code[k] + spec.first_code);
      }
      Block block{};
      Format::write(numbers, block);
      std::memcpy(dst, &block, sizeof block);
    }
  }
}

template <class V, class Format, bool kWeighted>
void encode_affine_small(const float* x, const float* importance, std::byte* dst, std::int64_t n, float max_level,
                         const AffineTrials& trials) {
  using Block = typename Format::Block;
  constexpr int kWeights = kTileLanes * 32;
  Tile<32> tile;
  alignas(64) float scales[kTileLanes], mins[kTileLanes];
  for (std::int64_t i = 0; i < n; i += kWeights) {
    const int n_lanes = n - i < kWeights ? static_cast<int>((n - i) / 32) : kTileLanes;
    load_tile<V, 32>(x + i, kWeighted ? importance + i : nullptr, n_lanes, tile);
    for (int k = 0; k < kTileLanes; k += V::kCount) {
      const AffineFit<V> fit = affine_search<32, kWeighted, true>(tile.x + k, tile.w + k, V(max_level), trials);
      fit.scale.store(scales + k);
      fit.min.store(mins + k);
    }
    for (int lane = 0; lane < n_lanes; ++lane, dst += sizeof(Block)) {
      RowBlock numbers;
      numbers.d = finite_f16(scales[lane]);
      numbers.m = finite_f16(-mins[lane]);
      const float inverse = inverse_of(Lane(f16_to_f32(numbers.d))).v;
      affine_levels<V>(x + i + lane * 32, 32, inverse, -f16_to_f32(numbers.m) * inverse, max_level, numbers.code);
      Block block{};
      Format::write(numbers, block);
      std::memcpy(dst, &block, sizeof block);
    }
  }
}

}  // namespace dodeca::quant
