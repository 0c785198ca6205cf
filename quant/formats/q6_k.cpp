// Q6_K: sub-blocks of 16 weights in 6 bits (-32..31), each with an 8-bit signed scale.
#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/formats/pack.hpp"

namespace dodeca::quant {
namespace {

constexpr int kSub = 16, kSubs = kSuperBlock / kSub;

// Weight i keeps its low nibble in ql and its two high bits in qh.
constexpr int ql_of(int i) { return 64 * (i / 128) + i % 64; }
constexpr int ql_shift_of(int i) { return 4 * (i % 128 / 64); }
constexpr int qh_of(int i) { return 32 * (i / 128) + i % 32; }
constexpr int qh_shift_of(int i) { return 2 * (i % 128 / 32); }

}  // namespace

void decode(const BlockQ6_K& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < kSubs; ++sub) {
    const float scale = d * static_cast<float>(block.scales[sub]);
    for (int i = sub * kSub; i < (sub + 1) * kSub; ++i) {
      const int low = (block.ql[ql_of(i)] >> ql_shift_of(i)) & 15;
      const int high = (block.qh[qh_of(i)] >> qh_shift_of(i)) & 3;
      y[i] = scale * static_cast<float>((low | (high << 4)) - 32);
    }
  }
}

void pack(const SymmetricPieces<16>& pieces, BlockQ6_K& block) {
  block = {};
  block.d = pieces.d;
  for (int sub = 0; sub < kSubs; ++sub) block.scales[sub] = pieces.scales[sub];
  for (int i = 0; i < kSuperBlock; ++i) {
    const int l = pieces.levels[i];
    block.ql[ql_of(i)] |= static_cast<std::uint8_t>((l & 15) << ql_shift_of(i));
    block.qh[qh_of(i)] |= static_cast<std::uint8_t>((l >> 4) << qh_shift_of(i));
  }
}

}  // namespace dodeca::quant
