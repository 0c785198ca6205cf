// The lattices of the IQ types: sets of points that their author chose statistically, indexed in ascending order.
// Constants from quant/iq-grids.json, expanded at compile time.
#pragma once

#include <cstdint>

namespace dodeca::quant {

template <int kPoints, int kElements>
struct Grid {
  std::int8_t points[kPoints][kElements];
  [[gnu::always_inline]] const std::int8_t* operator[](std::uint32_t index) const { return points[index]; }
};

extern const Grid<256, 8> kIq2xxsGrid;
extern const Grid<512, 8> kIq2xsGrid;
extern const Grid<1024, 8> kIq2sGrid;
extern const Grid<2048, 8> kIq1sGrid;
extern const Grid<256, 4> kIq3xxsGrid;
extern const Grid<512, 4> kIq3sGrid;

// A 7-bit sign index as eight sign bits: the eighth makes the number of set bits even.
[[gnu::always_inline]] inline std::uint8_t sign_byte(std::uint32_t index) {
  return static_cast<std::uint8_t>(index | (static_cast<std::uint32_t>(__builtin_popcount(index) & 1) << 7));
}

}  // namespace dodeca::quant
