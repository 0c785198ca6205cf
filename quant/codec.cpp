#include "quant/codec.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/check.hpp"
#include "quant/encode/encode_row.hpp"
#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"

namespace dodeca::quant {
namespace {

// Blocks in a file lie at any address: each is copied out before it is read.
template <class Block, int kElements>
void decode_blocks(const std::byte* src, float* dst, std::int64_t n) {
  Block block;
  for (std::int64_t i = 0; i < n; i += kElements, src += sizeof block) {
    std::memcpy(&block, src, sizeof block);
    decode(block, dst + i);
  }
}

// Largest magnitude that block encoders are given: small enough that no sum of theirs overflows.
constexpr float kLargest = 3e38f;

template <class Block, int kElements, class Encode>
void encode_blocks(const float* src, std::byte* dst, std::int64_t n, const Encode& encode_block) {
  Block block;
  float x[kElements];
  for (std::int64_t i = 0; i < n; i += kElements, dst += sizeof block) {
    for (int k = 0; k < kElements; ++k) x[k] = std::clamp(src[i + k], -kLargest, kLargest);
    encode_block(x, block);
    std::memcpy(dst, &block, sizeof block);
  }
}

bool non_finite_f16(const std::byte* src) {
  std::uint16_t bits;
  std::memcpy(&bits, src, sizeof bits);
  return (bits & 0x7c00u) == 0x7c00u;
}

// Offsets of the f16 fields in a block of each type that has no other non-integer part: -1 for none.
struct ScaleOffsets {
  int first, second;
};
ScaleOffsets f16_offsets(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108, -1};
    case DType::kQ6_K:
      return {208, -1};
    case DType::kTQ1_0:
      return {52, -1};
    case DType::kTQ2_0:
      return {64, -1};
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
    case DType::kIQ1_S:
    case DType::kIQ2_XXS:
    case DType::kIQ2_XS:
    case DType::kIQ2_S:
    case DType::kIQ3_XXS:
    case DType::kIQ3_S:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return {0, -1};
    default:
      return {-1, -1};
  }
}

}  // namespace

void decode_row(DType dtype, const std::byte* src, float* dst, std::int64_t n) {
  DODECA_CHECK(type_info(dtype).decodable && n % type_info(dtype).block_elements == 0, dtype, n);
  switch (dtype) {
    case DType::kF32:
      return decode_f32(src, dst, n);
    case DType::kF16:
      return decode_f16(src, dst, n);
    case DType::kBF16:
      return decode_bf16(src, dst, n);
    case DType::kF8_E4M3_B128:
      return decode_blocks<BlockF8_E4M3_B128, kFp8Block>(src, dst, n);
    case DType::kQ4_0:
      return decode_blocks<BlockQ4_0, kSmallBlock>(src, dst, n);
    case DType::kQ4_1:
      return decode_blocks<BlockQ4_1, kSmallBlock>(src, dst, n);
    case DType::kQ5_0:
      return decode_blocks<BlockQ5_0, kSmallBlock>(src, dst, n);
    case DType::kQ5_1:
      return decode_blocks<BlockQ5_1, kSmallBlock>(src, dst, n);
    case DType::kQ8_0:
      return decode_blocks<BlockQ8_0, kSmallBlock>(src, dst, n);
    case DType::kQ2_K:
      return decode_blocks<BlockQ2_K, kSuperBlock>(src, dst, n);
    case DType::kQ3_K:
      return decode_blocks<BlockQ3_K, kSuperBlock>(src, dst, n);
    case DType::kQ4_K:
      return decode_blocks<BlockQ4_K, kSuperBlock>(src, dst, n);
    case DType::kQ5_K:
      return decode_blocks<BlockQ5_K, kSuperBlock>(src, dst, n);
    case DType::kQ6_K:
      return decode_blocks<BlockQ6_K, kSuperBlock>(src, dst, n);
    case DType::kQ8_K:
      return decode_blocks<BlockQ8_K, kSuperBlock>(src, dst, n);
    case DType::kIQ1_S:
      return decode_blocks<BlockIQ1_S, kSuperBlock>(src, dst, n);
    case DType::kIQ1_M:
      return decode_blocks<BlockIQ1_M, kSuperBlock>(src, dst, n);
    case DType::kIQ2_XXS:
      return decode_blocks<BlockIQ2_XXS, kSuperBlock>(src, dst, n);
    case DType::kIQ2_XS:
      return decode_blocks<BlockIQ2_XS, kSuperBlock>(src, dst, n);
    case DType::kIQ2_S:
      return decode_blocks<BlockIQ2_S, kSuperBlock>(src, dst, n);
    case DType::kIQ3_XXS:
      return decode_blocks<BlockIQ3_XXS, kSuperBlock>(src, dst, n);
    case DType::kIQ3_S:
      return decode_blocks<BlockIQ3_S, kSuperBlock>(src, dst, n);
    case DType::kIQ4_NL:
      return decode_blocks<BlockIQ4_NL, kSmallBlock>(src, dst, n);
    case DType::kIQ4_XS:
      return decode_blocks<BlockIQ4_XS, kSuperBlock>(src, dst, n);
    case DType::kMXFP4:
      return decode_blocks<BlockMXFP4, kSmallBlock>(src, dst, n);
    case DType::kTQ1_0:
      return decode_blocks<BlockTQ1_0, kSuperBlock>(src, dst, n);
    case DType::kTQ2_0:
      return decode_blocks<BlockTQ2_0, kSuperBlock>(src, dst, n);
    default:
      return;  // not decodable: excluded by contract
  }
}

void encode_row(DType dtype, const float* src, std::byte* dst, std::int64_t n, const float* importance) {
  DODECA_CHECK(type_info(dtype).encodable && n % type_info(dtype).block_elements == 0, dtype, n);
  if (encode_row_searching<Lane>(dtype, src, dst, n, importance)) return;
  switch (dtype) {
    case DType::kF32:
      return encode_f32(src, dst, n);
    case DType::kF16:
      return encode_f16(src, dst, n);
    case DType::kBF16:
      return encode_bf16(src, dst, n);
    case DType::kF8_E4M3_B128:
      return encode_blocks<BlockF8_E4M3_B128, kFp8Block>(
          src, dst, n, [](const float* x, BlockF8_E4M3_B128& block) { encode(x, block); });
    case DType::kQ8_K:
      return encode_blocks<BlockQ8_K, kSuperBlock>(src, dst, n,
                                                   [](const float* x, BlockQ8_K& block) { encode(x, block); });
    default:
      return;  // not encodable: excluded by contract
  }
}

void encode_row_once(DType dtype, const float* src, std::byte* dst, std::int64_t n) {
  if (dtype != DType::kQ8_0) return encode_row(dtype, src, dst, n);
  encode_blocks<BlockQ8_0, kSmallBlock>(src, dst, n, [](const float* x, BlockQ8_0& block) { encode_once(x, block); });
}

std::int64_t find_non_finite(DType dtype, const std::byte* src, std::int64_t n) {
  DODECA_CHECK(type_info(dtype).decodable && n % type_info(dtype).block_elements == 0, dtype, n);
  const TypeInfo& type = type_info(dtype);
  const ScaleOffsets offsets = f16_offsets(dtype);
  float values[kSuperBlock];
  // Plain types are decoded in steps of 256, blocks one by one.
  const std::int64_t step = type.block_elements == 1 ? kSuperBlock : type.block_elements;
  const bool by_scale = type.block_elements > 1 && offsets.first >= 0;
  for (std::int64_t i = 0; i < n; i += step) {
    const std::int64_t count = std::min(step, n - i);
    const std::byte* at = src + i / type.block_elements * type.block_bytes;
    // Integers under finite f16 scales are finite; only a broken scale needs a closer look.
    if (by_scale && !non_finite_f16(at + offsets.first) && (offsets.second < 0 || !non_finite_f16(at + offsets.second)))
      continue;
    decode_row(dtype, at, values, count);
    for (std::int64_t k = 0; k < count; ++k) {
      if (!std::isfinite(values[k])) return i + k;
    }
  }
  return -1;
}

}  // namespace dodeca::quant
