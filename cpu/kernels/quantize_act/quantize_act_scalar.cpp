#include <bit>
#include <cmath>
#include <limits>

#include "cpu/kernels/quantize_act/quantize_act_kernels.hpp"

namespace dodeca::cpu::scalar {
namespace {

// Fills q and returns the scale. Magnitudes are compared as integers: there NaN is above infinity and order does not
// matter.
float quantize(const float* x, int n, std::int8_t* q) {
  std::int32_t amax_bits = 0;
  for (int i = 0; i < n; ++i) {
    const std::int32_t bits = std::bit_cast<std::int32_t>(x[i]) & 0x7fffffff;
    if (bits > amax_bits) amax_bits = bits;
  }
  if (amax_bits < kTinyBits || amax_bits >= kInfinityBits) {
    for (int i = 0; i < n; ++i) q[i] = 0;
    return amax_bits < kTinyBits ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  const auto amax = std::bit_cast<float>(amax_bits);
  const float inverse = 127.0f / amax;
  for (int i = 0; i < n; ++i) q[i] = static_cast<std::int8_t>(std::nearbyint(x[i] * inverse));
  return amax / 127.0f;
}

}  // namespace

void quantize_act(ActFormat format, const float* x, std::int64_t n, std::byte* dst) noexcept {
  if (format == ActFormat::kQ8_32) {
    auto* block = reinterpret_cast<Q8Block32*>(dst);
    for (std::int64_t k = 0; k < n; k += 32, ++block) {
      block->scale = quantize(x + k, 32, block->q);
      block->sum = 0;
      for (std::int8_t q : block->q) block->sum += q;
    }
    return;
  }
  auto* block = reinterpret_cast<Q8Block256*>(dst);
  for (std::int64_t k = 0; k < n; k += 256, ++block) {
    *block = {};
    block->scale = quantize(x + k, 256, block->q);
    for (int i = 0; i < 256; ++i) {
      block->sums16[i / 16] = static_cast<std::int16_t>(block->sums16[i / 16] + block->q[i]);
      block->sums32[i / 32] = static_cast<std::int16_t>(block->sums32[i / 32] + block->q[i]);
      block->sum += block->q[i];
    }
  }
}

}  // namespace dodeca::cpu::scalar
