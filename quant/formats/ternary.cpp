// TQ1_0 (five trits to a byte) and TQ2_0 (two bits each): values -d, 0, d.
#include "quant/formats/ternary.hpp"

namespace dodeca::quant {
namespace {

constexpr unsigned kPowersOf3[5] = {1, 3, 9, 27, 81};

// A byte is a base-3 fraction, first trit on top: multiplying by 3^t (mod 256) brings trit t there.
float trit(unsigned byte, int t) {
  return static_cast<float>(static_cast<int>((((byte * kPowersOf3[t]) & 255u) * 3) >> 8) - 1);
}

}  // namespace

void Format<DType::kTQ1_0>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 160; ++i) y[i] = d * trit(block.qs[i % 32], i / 32);
  for (int i = 0; i < 80; ++i) y[160 + i] = d * trit(block.qs[32 + i % 16], i / 16);
  for (int i = 0; i < 16; ++i) y[240 + i] = d * trit(block.qh[i % 4], i / 4);
}

void Format<DType::kTQ2_0>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int q = (block.qs[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32))) & 3;
    y[i] = d * static_cast<float>(q - 1);
  }
}

}  // namespace dodeca::quant
