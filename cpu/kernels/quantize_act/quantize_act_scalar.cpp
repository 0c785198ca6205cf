#include "cpu/kernels/quantize_act/group.hpp"
#include "cpu/kernels/quantize_act/quantize_act_kernels.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu::scalar {

void quantize_act(ActFormat format, const float* x, std::int64_t n, std::byte* dst) noexcept {
  if (format == ActFormat::kQ8_32) {
    auto* block = reinterpret_cast<Q8Block32*>(dst);
    for (std::int64_t k = 0; k < n; k += 32, ++block) {
      block->scale = quantize_group(x + k, 32, 127.0f, block->q);
      block->sum = 0;
      for (std::int8_t q : block->q) block->sum += q;
    }
    return;
  }
  auto* block = reinterpret_cast<Q8Block256*>(dst);
  for (std::int64_t k = 0; k < n; k += 256, ++block) {
    *block = {};
    block->scale = quantize_group(x + k, 256, 127.0f, block->q);
    for (int i = 0; i < 256; ++i) {
      block->sums16[i / 16] = static_cast<std::int16_t>(block->sums16[i / 16] + block->q[i]);
      block->sums32[i / 32] = static_cast<std::int16_t>(block->sums32[i / 32] + block->q[i]);
      block->sum += block->q[i];
    }
  }
}

}  // namespace dodeca::cpu::scalar
