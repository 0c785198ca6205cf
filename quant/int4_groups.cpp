#include "quant/int4_groups.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/check.hpp"
#include "quant/float_types.hpp"
#include "quant/formats/legacy.hpp"

namespace dodeca::quant {
namespace {

constexpr std::int64_t kBlock = 32;
constexpr std::int64_t kHalfBytes = kBlock / 4;  // codes of half a block

// Q4_0 pairs weight i with weight i + 16 in a byte, the packed form weight 2k with weight 2k + 1.
void pair_halves(const std::uint8_t* codes, std::uint8_t* pairs) {
  const std::uint8_t* const upper = codes + kHalfBytes;
  for (std::int64_t k = 0; k < kHalfBytes; ++k) {
    pairs[2 * k] = static_cast<std::uint8_t>((codes[k] & 0x0f) | (upper[k] << 4));
    pairs[2 * k + 1] = static_cast<std::uint8_t>((codes[k] >> 4) | (upper[k] & 0xf0));
  }
}

bool all_zero(const std::byte* codes, std::int64_t n) {
  return std::all_of(codes, codes + n / 2, [](std::byte pair) { return pair == std::byte{0x88}; });
}

}  // namespace

std::int64_t int4_groups_to_q4_0(const std::byte* codes, const float* scales, std::int64_t n, std::int64_t group,
                                 std::byte* dst) {
  DODECA_CHECK(group % kBlock == 0 && n % group == 0, n, group);
  for (std::int64_t g = 0; g < n / group; ++g) {
    BlockQ4_0 block{.d = f32_to_f16(scales[g]), .qs = {}};
    if (!std::isfinite(scales[g])) return g;
    if (f16_to_f32(block.d) != scales[g]) {
      if (!all_zero(codes, group)) return g;
      block.d = 0;
    }
    for (std::int64_t b = 0; b < group / kBlock; ++b, codes += kBlock / 2, dst += sizeof block) {
      std::uint8_t packed[kBlock / 2];
      std::memcpy(packed, codes, sizeof packed);
      pair_halves(packed, block.qs);
      std::memcpy(dst, &block, sizeof block);
    }
  }
  return -1;
}

void decode_int4_groups(const std::byte* codes, const float* scales, std::int64_t n, std::int64_t group, float* dst) {
  DODECA_CHECK(group % 2 == 0 && n % group == 0, n, group);
  for (std::int64_t i = 0; i < n; ++i) {
    const int pair = std::to_integer<int>(codes[i / 2]);
    dst[i] = static_cast<float>((i % 2 == 0 ? pair & 15 : pair >> 4) - 8) * scales[i / group];
  }
}

}  // namespace dodeca::quant
