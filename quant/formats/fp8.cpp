// FP8 E4M3 with one f32 scale per 128 columns: the published DeepSeek-V3 weights, the scale made part of the row.
#include <algorithm>
#include <cmath>

#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"

namespace dodeca::quant {

void decode(const BlockF8_E4M3_B128& block, float* y) {
  for (int i = 0; i < kFp8Block; ++i) y[i] = e4m3_to_f32(block.qs[i]) * block.scale;
}

void encode(const float* x, BlockF8_E4M3_B128& block) {
  float amax = 0;
  for (int i = 0; i < kFp8Block; ++i) amax = std::max(amax, std::fabs(x[i]));
  // Divided, not multiplied by the inverse: the scale of the smallest values is a denormal whose inverse is infinite.
  block.scale = amax / 448.0f;
  if (amax > 0 && block.scale == 0) block.scale = std::numeric_limits<float>::denorm_min();
  for (int i = 0; i < kFp8Block; ++i) block.qs[i] = amax > 0 ? f32_to_e4m3(x[i] / block.scale) : 0;
}

}  // namespace dodeca::quant
