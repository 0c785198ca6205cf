#include "quant/gain.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/codec.hpp"
#include "quant/formats/formats.hpp"

namespace dodeca::quant {
namespace {

constexpr double kLargestFactor = 1.5;  // noise that has hardly anything to do with the weights is not made louder

std::uint16_t times(std::uint16_t half, float factor) { return finite_f16(f16_to_f32(half) * factor); }

using ScaleBlocks = void (*)(std::byte* blocks, std::int64_t n_blocks, float factor);

template <DType T, bool kCoarse>
ScaleBlocks scaler() {
  if constexpr (!kCoarse) {
    return nullptr;
  } else {
    return [](std::byte* blocks, std::int64_t n_blocks, float factor) {
      using F = Format<T>;
      typename F::Block block;
      RowBlock numbers;
      for (std::int64_t i = 0; i < n_blocks; ++i, blocks += sizeof block) {
        std::memcpy(&block, blocks, sizeof block);
        F::read(block, numbers);
        numbers.d = times(numbers.d, factor);
        if constexpr (F::kMinima) numbers.m = times(numbers.m, factor);
        block = {};
        F::write(numbers, block);
        std::memcpy(blocks, &block, sizeof block);
      }
    };
  }
}

// Of the types with fewer than four bits for each weight.
ScaleBlocks scaler_of(DType dtype) {
  switch (dtype) {
#define TYPE(...)
#define BLOCKS(name, lower, id, elements, bytes, prefix, encode, ...) \
  case DType::k##name:                                                \
    return scaler < DType::k##name, (encode) && 8 * (bytes)<4 * (elements)>();
#include "quant/types.inc"
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
  const TypeInfo& type = type_info(dtype);
  scale_all(dst + type.row_prefix_bytes, n / type.block_elements,
            static_cast<float>(std::min(kLargestFactor, 1 / (root * std::sqrt(root)))));
}

}  // namespace dodeca::quant
