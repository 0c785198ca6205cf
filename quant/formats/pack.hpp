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

// d * scales[k] * levels[i], levels offset by half their number so that they count from 0.
struct SymmetricPieces {
  std::uint16_t d;
  std::int8_t scales[16];
  std::uint8_t levels[kSuperBlock];
};
void pack(const SymmetricPieces& pieces, BlockQ3_K& block);
void pack(const SymmetricPieces& pieces, BlockQ6_K& block);

}  // namespace dodeca::quant
