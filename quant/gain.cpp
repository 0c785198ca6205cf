#include "quant/gain.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/blocks.hpp"
#include "quant/codec.hpp"
#include "quant/float_types.hpp"

namespace dodeca::quant {
namespace {

constexpr double kLargestFactor = 1.5;  // noise that has hardly anything to do with the weights is not made louder

std::uint16_t times(std::uint16_t half, float factor) { return finite_f16(f16_to_f32(half) * factor); }

template <class Block>
void scale(Block& block, float factor) {
  block.d = times(block.d, factor);
  if constexpr (requires { block.dmin; }) block.dmin = times(block.dmin, factor);
}
void scale(BlockIQ1_M& block, float factor) {
  std::uint16_t d = 0;
  for (int i = 0; i < 4; ++i) d = static_cast<std::uint16_t>(d | (block.scales[i] >> 12) << (4 * i));
  d = times(d, factor);
  for (int i = 0; i < 4; ++i)
    block.scales[i] = static_cast<std::uint16_t>((block.scales[i] & 0x0fff) | (d >> (4 * i) & 15) << 12);
}

template <class Block>
void scale_blocks(std::byte* blocks, std::int64_t n_blocks, float factor) {
  Block block;
  for (std::int64_t i = 0; i < n_blocks; ++i, blocks += sizeof block) {
    std::memcpy(&block, blocks, sizeof block);
    scale(block, factor);
    std::memcpy(blocks, &block, sizeof block);
  }
}

using ScaleBlocks = void (*)(std::byte* blocks, std::int64_t n_blocks, float factor);
ScaleBlocks scaler_of(DType dtype) {
  switch (dtype) {
    case DType::kIQ1_S:
      return scale_blocks<BlockIQ1_S>;
    case DType::kIQ1_M:
      return scale_blocks<BlockIQ1_M>;
    case DType::kIQ2_XXS:
      return scale_blocks<BlockIQ2_XXS>;
    case DType::kIQ2_XS:
      return scale_blocks<BlockIQ2_XS>;
    case DType::kIQ2_S:
      return scale_blocks<BlockIQ2_S>;
    case DType::kIQ3_XXS:
      return scale_blocks<BlockIQ3_XXS>;
    case DType::kIQ3_S:
      return scale_blocks<BlockIQ3_S>;
    case DType::kQ2_K:
      return scale_blocks<BlockQ2_K>;
    case DType::kQ3_K:
      return scale_blocks<BlockQ3_K>;
    default:
      return nullptr;
  }
}

}  // namespace

bool loses_gain(DType dtype) { return scaler_of(dtype) != nullptr; }

void restore_gain(DType dtype, const float* src, std::byte* dst, std::int64_t n, const float* importance,
                  float* decoded) {
  const ScaleBlocks scale_all = scaler_of(dtype);
  if (scale_all == nullptr) return;
  decode_row(dtype, dst, decoded, n);
  constexpr int kSums = 4;  // in a fixed order, without waiting for each other
  double product[kSums] = {}, square[kSums] = {};
  for (std::int64_t i = 0; i < n; ++i) {
    const double w = src[i], m = importance == nullptr ? 1.0 : importance[i];
    product[i % kSums] += m * w * decoded[i];
    square[i % kSums] += m * w * w;
  }
  const double all = (product[0] + product[1]) + (product[2] + product[3]),
               whole = (square[0] + square[1]) + (square[2] + square[3]);
  if (!(all > 0) || !(whole > all) || !std::isfinite(whole)) return;  // nothing to restore
  const double root = std::sqrt(all / whole);                         // g^-3/4 by square roots: exact to the last bit
  scale_all(dst, n / type_info(dtype).block_elements,
            static_cast<float>(std::min(kLargestFactor, 1 / (root * std::sqrt(root)))));
}

}  // namespace dodeca::quant
