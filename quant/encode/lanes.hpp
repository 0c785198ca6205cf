// What the encoders' searches are written in: a value with V::kCount lanes, each lane one independent sub-block, one
// candidate or one weight. One lane is plain float arithmetic and defines the results; the vector kinds in
// cpu/kernels/encode run the same operations side by side, so every level gives the same bits.
//
// A kind V has: kCount, V(float) in all lanes, load, store, store_codes (integers 0..255 as bytes), + - * / -,
// <, fma(a, b, c) = a * b + c rounded once, min(a, b) = a < b ? a : b, max(a, b) = b < a ? a : b, round (to even, below
// 2^22), select(mask, a, b), least(a) of all lanes, lookup in a table of 32, mask(bits) and bits(mask), lane k being bit
// k, and transpose: 16 rows of 16 floats, row r at src + r * stride, to columns.
#pragma once

#include <cstdint>

namespace dodeca::quant {

#define DODECA_LANE [[gnu::always_inline]] inline

struct Lane {
  static constexpr int kCount = 1;
  float v;

  Lane() = default;
  DODECA_LANE explicit Lane(float value) : v(value) {}
  DODECA_LANE static Lane load(const float* src) { return Lane(*src); }
  DODECA_LANE void store(float* dst) const { *dst = v; }
  DODECA_LANE void store_codes(std::uint8_t* dst) const {
    *dst = static_cast<std::uint8_t>(static_cast<std::int32_t>(v));
  }
  DODECA_LANE static Lane lookup(const float* table, Lane index) { return Lane(table[static_cast<int>(index.v)]); }
  DODECA_LANE static bool mask(unsigned bits) { return (bits & 1) != 0; }
  DODECA_LANE static unsigned bits(bool mask) { return mask ? 1 : 0; }
  DODECA_LANE static void transpose(const float* src, int stride, float* dst) {
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 16; ++column) dst[16 * column + row] = src[row * stride + column];
    }
  }
};
DODECA_LANE Lane operator+(Lane a, Lane b) { return Lane(a.v + b.v); }
DODECA_LANE Lane operator-(Lane a, Lane b) { return Lane(a.v - b.v); }
DODECA_LANE Lane operator*(Lane a, Lane b) { return Lane(a.v * b.v); }
DODECA_LANE Lane operator/(Lane a, Lane b) { return Lane(a.v / b.v); }
DODECA_LANE Lane operator-(Lane a) { return Lane(-a.v); }
DODECA_LANE bool operator<(Lane a, Lane b) { return a.v < b.v; }
DODECA_LANE Lane fma(Lane a, Lane b, Lane c) { return Lane(__builtin_fmaf(a.v, b.v, c.v)); }
DODECA_LANE Lane min(Lane a, Lane b) { return Lane(a.v < b.v ? a.v : b.v); }
DODECA_LANE Lane max(Lane a, Lane b) { return Lane(b.v < a.v ? a.v : b.v); }
DODECA_LANE Lane round(Lane a) { return Lane((a.v + 12582912.0f) - 12582912.0f); }
DODECA_LANE Lane select(bool mask, Lane a, Lane b) { return mask ? a : b; }
DODECA_LANE float least(Lane a) { return a.v; }

}  // namespace dodeca::quant
