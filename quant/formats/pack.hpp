// From integers, one per byte, to the bits of a block.
#pragma once

#include <cstdint>

#include "quant/blocks.hpp"

namespace dodeca::quant {

// Value of weight i in sub-block k: d * scales[k] * levels[i] - dmin * mins[k].
template <int kSubs>
struct AffinePieces {
  std::uint16_t d, dmin;
  std::uint8_t scales[kSubs], mins[kSubs];
  std::uint8_t levels[kSuperBlock];
};
void pack(const AffinePieces<16>& pieces, BlockQ2_K& block);
void pack(const AffinePieces<8>& pieces, BlockQ4_K& block);
void pack(const AffinePieces<8>& pieces, BlockQ5_K& block);

// d * scales[k] * level, levels[i] being its number counted from the least.
template <int kSubs>
struct SymmetricPieces {
  std::uint16_t d;
  std::int8_t scales[kSubs];
  std::uint8_t levels[kSuperBlock];
};
void pack(const SymmetricPieces<16>& pieces, BlockQ3_K& block);
void pack(const SymmetricPieces<16>& pieces, BlockQ6_K& block);
void pack(const SymmetricPieces<8>& pieces, BlockIQ4_XS& block);

// Blocks of 32 with one f16 scale d, those of the _1 kinds with an f16 offset m.
struct SmallPieces {
  std::uint16_t d, m;
  std::uint8_t levels[kSmallBlock];
};
void pack(const SmallPieces& pieces, BlockQ4_0& block);
void pack(const SmallPieces& pieces, BlockQ4_1& block);
void pack(const SmallPieces& pieces, BlockQ5_0& block);
void pack(const SmallPieces& pieces, BlockQ5_1& block);
void pack(const SmallPieces& pieces, BlockQ8_0& block);  // levels from -127, as the others from their least
void pack(const SmallPieces& pieces, BlockIQ4_NL& block);

// Lattice points with signs: weight i is d * (2 scales + 1) * unit * the value in the point of its group, negative
// where bit i % 8 of signs[i / 8] is set.
template <int kSubs, int kGroups>
struct LatticePieces {
  std::uint16_t d;
  std::uint8_t scales[kSubs];
  std::uint16_t points[kGroups];
  std::uint8_t signs[kSuperBlock / 8];
};
void pack(const LatticePieces<8, 32>& pieces, BlockIQ2_XXS& block);
void pack(const LatticePieces<16, 32>& pieces, BlockIQ2_XS& block);
void pack(const LatticePieces<16, 32>& pieces, BlockIQ2_S& block);
void pack(const LatticePieces<8, 64>& pieces, BlockIQ3_XXS& block);
void pack(const LatticePieces<8, 64>& pieces, BlockIQ3_S& block);

// Ternary lattice points: weight i is d * (2 scales + 1) * (the value in the point of its group of eight + an eighth, or
// - an eighth where bit (i / 8) of down is set).
template <int kSubs>
struct TernaryPieces {
  std::uint16_t d;
  std::uint8_t scales[kSubs];
  std::uint16_t points[kSuperBlock / 8];
  std::uint32_t down;
};
void pack(const TernaryPieces<8>& pieces, BlockIQ1_S& block);  // one shift for four groups: that of the first counts
void pack(const TernaryPieces<16>& pieces, BlockIQ1_M& block);

}  // namespace dodeca::quant
