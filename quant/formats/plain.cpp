// F32, F16, BF16: no blocks, the bytes may lie anywhere, hence memcpy. FP8 E4M3 with one f32 scale per 128 columns: the
// published DeepSeek-V3 weights, the scale made part of the row. Q8_K: 8 bits with one f32 scale per 256 and sums of 16;
// files may hold it, activations are Q8Block256 (cpu/kernels).
#include "quant/formats/plain.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "quant/encode/lanes.hpp"

namespace dodeca::quant {
namespace {

std::uint16_t load_u16(const std::byte* src) {
  std::uint16_t bits;
  std::memcpy(&bits, src, sizeof bits);
  return bits;
}

}  // namespace

void Format<DType::kF32>::decode(const std::byte* src, float* dst, std::int64_t n) {
  std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

void Format<DType::kF16>::decode(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) dst[i] = f16_to_f32(load_u16(src + 2 * i));
}

void Format<DType::kBF16>::decode(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) dst[i] = bf16_to_f32(load_u16(src + 2 * i));
}

void Format<DType::kF32>::encode(const float* src, std::byte* dst, std::int64_t n) {
  std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

void Format<DType::kF16>::encode(const float* src, std::byte* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    // Large values saturate; what is not finite stays so, for whoever looks for it.
    const std::uint16_t bits = std::isfinite(src[i]) ? finite_f16(src[i]) : f32_to_f16(src[i]);
    std::memcpy(dst + 2 * i, &bits, sizeof bits);
  }
}

void Format<DType::kBF16>::encode(const float* src, std::byte* dst, std::int64_t n) {
  constexpr std::uint16_t kLargest = 0x7f7f;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint16_t bits = f32_to_bf16(src[i]);
    if ((bits & 0x7fffu) == 0x7f80u && std::isfinite(src[i]))
      bits = static_cast<std::uint16_t>((bits & 0x8000u) | kLargest);
    std::memcpy(dst + 2 * i, &bits, sizeof bits);
  }
}

void Format<DType::kF8_E4M3_B128>::decode(const Block& block, float* y) {
  for (int i = 0; i < kFp8Block; ++i) y[i] = e4m3_to_f32(block.qs[i]) * block.scale;
}

void Format<DType::kF8_E4M3_B128>::encode(const float* x, Block& block) {
  float amax = 0;
  for (int i = 0; i < kFp8Block; ++i) amax = std::max(amax, std::fabs(x[i]));
  // Divided, not multiplied by the inverse: the scale of the smallest values is a denormal whose inverse is infinite.
  block.scale = amax / 448.0f;
  if (amax > 0 && block.scale == 0) block.scale = std::numeric_limits<float>::denorm_min();
  for (int i = 0; i < kFp8Block; ++i) block.qs[i] = amax > 0 ? f32_to_e4m3(x[i] / block.scale) : 0;
}

void Format<DType::kQ8_K>::decode(const Block& block, float* y) {
  for (int i = 0; i < kSuperBlock; ++i) y[i] = block.d * static_cast<float>(block.qs[i]);
}

void Format<DType::kQ8_K>::encode(const float* x, Block& block) {
  float extreme = 0;
  for (int i = 0; i < kSuperBlock; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  // Below the smallest normal float the inverse would be infinite.
  if (std::fabs(extreme) < 0x1p-100f) {
    block = {};
    return;
  }
  const float inverse = -127.0f / extreme;
  block.d = 1.0f / inverse;
  for (int i = 0; i < kSuperBlock; ++i)
    block.qs[i] = static_cast<std::int8_t>(round(min(Lane(inverse * x[i]), Lane(127.0f))).v);
  for (int g = 0; g < 16; ++g) {
    int total = 0;
    for (int i = 0; i < 16; ++i) total += block.qs[16 * g + i];
    block.bsums[g] = static_cast<std::int16_t>(total);
  }
}

}  // namespace dodeca::quant
