// How floats become words whose exact dot products, block by block, stay below 2^31: by the Cauchy-Schwarz inequality it
// is enough that every block's norm is at most kBlockNorm on both sides. Against a bound on the largest number alone
// that is worth 2 bits for blocks of 64 numbers that are spread like a normal distribution, and never less than none.
//   top   = min(kMostWord, kBlockNorm * amax / norm): what the largest number becomes; norm is the largest of any block
//   scale = amax / top; q = round-half-even(x * (top / amax)); infinity and NaN as in group.hpp
//   norm  = sqrt of a sum of squares in 16 interleaved lanes, lane[i % 16] = fma(x, x, lane[i % 16]), combined pairwise
//           (j with j + 8, + 4, + 2, + 1).
// Rounding adds at most sqrt(kKeyBlock) / 2 to a norm: 46306^2 < 2^31.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "cpu/kernels/quantize_act/group.hpp"

namespace dodeca::cpu {

inline constexpr float kMostWord = 32760.0f, kBlockNorm = 46300.0f;
// Outside of these the squares overflow or vanish and say nothing: the worst case of 128 equal numbers then, twice a block's.
inline constexpr std::int32_t kLeastSquareBits = (127 - 50) << 23, kMostSquareBits = (127 + 50) << 23;
inline constexpr float kTopWithoutNorm = 4080.0f;  // * sqrt(128) <= kBlockNorm

namespace {

inline float word_top(std::int32_t amax_bits, float squares) {
  if (amax_bits < kLeastSquareBits || amax_bits > kMostSquareBits) return kTopWithoutNorm;
  const float top = kBlockNorm * std::bit_cast<float>(amax_bits) / std::sqrt(squares);
  return top < kMostWord ? top : kMostWord;
}

inline GroupScale word_scale(std::int32_t amax_bits, float squares) {
  return group_scale(amax_bits, word_top(amax_bits, squares));
}

inline float combine_lanes(float* lane) {
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lane[j] += lane[j + half];
  }
  return lane[0];
}

// The sum of squares of one block.
inline float squares_of(const float* x, std::int64_t n) {
  float lane[16] = {};
  for (std::int64_t i = 0; i < n; ++i) lane[i % 16] = std::fma(x[i], x[i], lane[i % 16]);
  return combine_lanes(lane);
}

// Fills q and returns the scale; a row of several blocks has the scale of its largest.
inline float quantize_words(const float* x, std::int64_t n, std::int64_t block, std::int16_t* q) {
  float squares = 0.0f;
  for (std::int64_t i = 0; i < n; i += block) {
    const float own = squares_of(x + i, n - i < block ? n - i : block);
    squares = own > squares ? own : squares;
  }
  const GroupScale group = word_scale(amax_bits_of(x, n), squares);
  round_group(x, n, group.factor, q);
  return group.scale;
}

}  // namespace
}  // namespace dodeca::cpu
