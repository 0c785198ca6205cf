// Values as they are, FP8 with a scale per 128 columns, and Q8_K.
#pragma once

#include "quant/formats/format.hpp"

namespace dodeca::quant {

// n values
template <>
struct Format<DType::kF32> {
  static void decode(const std::byte* src, float* dst, std::int64_t n);
  static void encode(const float* src, std::byte* dst, std::int64_t n);
};
template <>
struct Format<DType::kF16> {
  static void decode(const std::byte* src, float* dst, std::int64_t n);
  static void encode(const float* src, std::byte* dst, std::int64_t n);
};
template <>
struct Format<DType::kBF16> {
  static void decode(const std::byte* src, float* dst, std::int64_t n);
  static void encode(const float* src, std::byte* dst, std::int64_t n);
};

// encode(x, block): x is finite; every block written decodes to finite values, whatever x is.

struct BlockF8_E4M3_B128 {
  float scale;
  std::uint8_t qs[128];
};
struct TileF8 : BlockTile<1, 2048, 128> {};  // values column-major: 16 rows of column 0, then of column 1, ...
template <>
struct Format<DType::kF8_E4M3_B128> {
  using Block = BlockF8_E4M3_B128;
  static void decode(const Block& block, float* y);
  static void encode(const float* x, Block& block);
};

struct BlockQ8_K {
  float d;
  std::int8_t qs[256];
  std::int16_t bsums[16];  // sums of 16 qs
};
template <>
struct Format<DType::kQ8_K> {
  using Block = BlockQ8_K;
  static void decode(const Block& block, float* y);
  static void encode(const float* x, Block& block);
};

}  // namespace dodeca::quant
