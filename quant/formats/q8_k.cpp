// Q8_K: 8 bits with one f32 scale per 256 and sums of 16. Files may hold it; activations are Q8Block256 (cpu/kernels).
#include <cmath>

#include "quant/encode/lanes.hpp"
#include "quant/formats/formats.hpp"

namespace dodeca::quant {

void decode(const BlockQ8_K& block, float* y) {
  for (int i = 0; i < kSuperBlock; ++i) y[i] = block.d * static_cast<float>(block.qs[i]);
}

void encode(const float* x, BlockQ8_K& block) {
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
