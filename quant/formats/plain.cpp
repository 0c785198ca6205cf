// F32, F16, BF16: no blocks. The bytes may lie anywhere, hence memcpy.
#include <cmath>
#include <cstddef>
#include <cstring>

#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"

namespace dodeca::quant {
namespace {

std::uint16_t load_u16(const std::byte* src) {
  std::uint16_t bits;
  std::memcpy(&bits, src, sizeof bits);
  return bits;
}

}  // namespace

void decode_f32(const std::byte* src, float* dst, std::int64_t n) {
  std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

void decode_f16(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) dst[i] = f16_to_f32(load_u16(src + 2 * i));
}

void decode_bf16(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) dst[i] = bf16_to_f32(load_u16(src + 2 * i));
}

void encode_f32(const float* src, std::byte* dst, std::int64_t n) {
  std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

void encode_f16(const float* src, std::byte* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    // Large values saturate; what is not finite stays so, for whoever looks for it.
    const std::uint16_t bits = std::isfinite(src[i]) ? finite_f16(src[i]) : f32_to_f16(src[i]);
    std::memcpy(dst + 2 * i, &bits, sizeof bits);
  }
}

void encode_bf16(const float* src, std::byte* dst, std::int64_t n) {
  constexpr std::uint16_t kLargest = 0x7f7f;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint16_t bits = f32_to_bf16(src[i]);
    if ((bits & 0x7fffu) == 0x7f80u && std::isfinite(src[i]))
      bits = static_cast<std::uint16_t>((bits & 0x8000u) | kLargest);
    std::memcpy(dst + 2 * i, &bits, sizeof bits);
  }
}

}  // namespace dodeca::quant
