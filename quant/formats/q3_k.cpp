// Q3_K: sub-blocks of 16 weights in 3 bits (-4..3), each with a 6-bit signed scale.
#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/formats/pack.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 16, kSubs = kSuperBlock / kSub;

constexpr int byte_of(int i) { return 32 * (i / 128) + i % 32; }  // the two low bits
constexpr int shift_of(int i) { return 2 * (i % 128 / 32); }
constexpr int mask_bit_of(int i) { return i / 32; }  // the high bit, in hmask[i % 32]

int scale_of(const BlockQ3_K& block, int sub) {
  const int low = sub < 8 ? block.scales[sub] & 15 : block.scales[sub - 8] >> 4;
  const int high = (block.scales[8 + sub % 4] >> (2 * (sub / 4))) & 3;
  return (low | (high << 4)) - 32;
}

void set_scale(BlockQ3_K& block, int sub, int scale) {
  const int stored = scale + 32;
  block.scales[sub % 8] |= static_cast<std::uint8_t>((stored & 15) << (sub < 8 ? 0 : 4));
  block.scales[8 + sub % 4] |= static_cast<std::uint8_t>((stored >> 4) << (2 * (sub / 4)));
}

}  // namespace

void decode(const BlockQ3_K& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(scale_of(block, sub));
    const int first = sub * kSub;
    for (int i = first; i < first + kSub; ++i) {
      const int low = (block.qs[byte_of(i)] >> shift_of(i)) & 3;
      const int high = (block.hmask[i % 32] >> mask_bit_of(i)) & 1;
      y[i] = scale * static_cast<float>(low - (high ? 0 : 4));
    }
  }
}

void pack(const SymmetricPieces<16>& pieces, BlockQ3_K& block) {
  block = {};
  block.d = pieces.d;
  for (int sub = 0; sub < kSubs; ++sub) set_scale(block, sub, pieces.scales[sub]);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int l = pieces.levels[i];
    block.qs[byte_of(i)] |= static_cast<std::uint8_t>((l & 3) << shift_of(i));
    block.hmask[i % 32] |= static_cast<std::uint8_t>((l >> 2) << mask_bit_of(i));
  }
}

}  // namespace dodeca::quant
