// Symmetric 4-bit integers in groups that share a scale, as compressed-tensors packs them ("pack-quantized"): eight
// codes in a 32-bit word, the first in its lowest bits; a weight is (code - 8) * scale. Q4_0 has the same grid, so such
// rows become Q4_0 blocks without any rounding: the codes are kept, and a scale is written as f16 where f16 has it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dodeca::quant {

// Weights per word of 32 bits.
inline constexpr std::int64_t kInt4PerWord = 8;

// codes: n / 2 bytes; scales: n / group floats, group a multiple of 32 that divides n; dst: row_bytes(kQ4_0, n) bytes.
// Returns the first group that has no exact form, or -1: f16 has a bfloat16 scale when its magnitude is from 2^-17 to
// 65280 (and some smaller ones). A group whose weights are all 0 needs no scale.
std::int64_t int4_groups_to_q4_0(const std::byte* codes, const float* scales, std::int64_t n, std::int64_t group,
                                 std::byte* dst);

// The same weights as floats: exact for scales of up to 20 bits, as bfloat16 and f16 have.
void decode_int4_groups(const std::byte* codes, const float* scales, std::int64_t n, std::int64_t group, float* dst);

}  // namespace dodeca::quant
