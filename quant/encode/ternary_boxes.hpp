// The points of the IQ1 lattice by the signs that they allow. Eight signs are a box: the points that have, weight by
// weight, this sign or zero. Within a box a point is the set of its weights other than zero.
#pragma once

#include <cstdint>

namespace dodeca::quant {

struct TernaryBoxes {
  // Bit j of a box: weight j is negative. Of its sets, bit (set & 15) of [set >> 4] tells whether it is a point.
  std::uint16_t members[256][16];
  std::uint16_t powers[256];      // of a set: the sum of 3^j
  std::uint16_t index[3 * 2187];  // of a point in the grid, by the sum of (t_j + 1) 3^j

  [[gnu::always_inline]] std::uint16_t point(unsigned box, unsigned set) const {
    return index[powers[255] + powers[set & ~box] - powers[set & box]];
  }
};

extern const TernaryBoxes kTernaryBoxes;

}  // namespace dodeca::quant
