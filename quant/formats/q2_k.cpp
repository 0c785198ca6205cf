// Q2_K: sub-blocks of 16 weights in 2 bits, each with a 4-bit scale and a 4-bit minimum.
#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/formats/pack.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 16, kSubs = kSuperBlock / kSub;

// Where weight i keeps its two bits.
constexpr int byte_of(int i) { return 32 * (i / 128) + i % 32; }
constexpr int shift_of(int i) { return 2 * (i % 128 / 32); }

}  // namespace

void decode(const BlockQ2_K& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(block.scales[sub] & 15);
    const float min = dmin * static_cast<float>(block.scales[sub] >> 4);
    const int first = sub * kSub;
    const std::uint8_t* qs = block.qs + byte_of(first);
    for (int i = 0; i < kSub; ++i) {
      y[first + i] = scale * static_cast<float>((qs[i] >> shift_of(first)) & 3) - min;
    }
  }
}

void pack(const AffinePieces<16>& pieces, BlockQ2_K& block) {
  block.d = pieces.d;
  block.dmin = pieces.dmin;
  for (int k = 0; k < kSubs; ++k) {
    block.scales[k] = static_cast<std::uint8_t>(pieces.scales[k] | (pieces.mins[k] << 4));
  }
  for (int i = 0; i < kSuperBlock / 4; ++i) {
    const std::uint8_t* l = pieces.levels + 128 * (i / 32) + i % 32;
    block.qs[i] = static_cast<std::uint8_t>(l[0] | (l[32] << 2) | (l[64] << 4) | (l[96] << 6));
  }
}

}  // namespace dodeca::quant
