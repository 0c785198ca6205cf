// TQ1_0 (five trits to a byte) and TQ2_0 (two bits each): values -d, 0, d.
#pragma once

#include "quant/formats/format.hpp"

namespace dodeca::quant {

struct BlockTQ1_0 {
  std::uint8_t qs[48];
  std::uint8_t qh[4];
  std::uint16_t d;
};
template <>
struct Format<DType::kTQ1_0> {
  using Block = BlockTQ1_0;
  static void decode(const Block& block, float* y);
};

struct BlockTQ2_0 {
  std::uint8_t qs[64];
  std::uint16_t d;
};
template <>
struct Format<DType::kTQ2_0> {
  using Block = BlockTQ2_0;
  static void decode(const Block& block, float* y);
};

}  // namespace dodeca::quant
