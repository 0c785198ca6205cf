// Codes of two to six bits in lane r of a tile's vectors. The types of a width share its arrangement, and with it the code
// that reads it in a product. Per 32 columns, the eight units 8k to 8k + 7, 64 bytes per bit:
//   2   2 vectors, of 16 columns each: bits 2j are unit j
//   3   3 vectors: bits 0-2 and 3-5 are units 0, 1; 2, 3; 4, 5; bits 6-7 the low bits of unit 6; of unit 7; the third
//       bits of both
//   4   4 vectors: vector i, low nibble: unit 2i, high: 2i + 1
//   5   a plane of bits, then as 4. Odd units keep their top four bits in the nibble and the lowest in the plane (bit 2i),
//       even units the other way round (bit 2i + 1): the high nibble then reads as 16 times the top four bits, and masking
//       gives 8 times the code
//   6   for each 16 columns a plane of two bits for every unit, then 2 vectors as 4; odd units keep their top four bits in
//       the nibble
#pragma once

#include "quant/layout/row_block.hpp"

namespace dodeca::quant {

// Units 4g to 4g + 3 of two bits.
inline void codes2_to_tile(const RowBlock& b, int r, int g, std::byte* codes) {
  std::uint32_t lane = 0;
  for (int j = 0; j < 4; ++j) lane |= (unit(b, 4 * g + j) & kThrees) << 2 * j;
  put(codes, 0, r, lane);
}
inline void codes2_from_tile(const std::byte* codes, int r, int g, RowBlock& b) {
  const std::uint32_t lane = get(codes, 0, r);
  for (int j = 0; j < 4; ++j) set_unit(b, 4 * g + j, lane >> 2 * j & kThrees);
}

// Units 8k to 8k + 7 of three bits.
inline void codes3_to_tile(const RowBlock& b, int r, int k, std::byte* codes) {
  const std::uint32_t u6 = unit(b, 8 * k + 6), u7 = unit(b, 8 * k + 7);
  const std::uint32_t rest[3] = {u6 & kThrees, u7 & kThrees, (u6 >> 2 & kOnes) | (u7 >> 2 & kOnes) << 1};
  for (int v = 0; v < 3; ++v) {
    put(codes, v, r, unit(b, 8 * k + 2 * v) | unit(b, 8 * k + 2 * v + 1) << 3 | rest[v] << 6);
  }
}
inline void codes3_from_tile(const std::byte* codes, int r, int k, RowBlock& b) {
  std::uint32_t rest[3];
  for (int v = 0; v < 3; ++v) {
    const std::uint32_t lane = get(codes, v, r);
    set_unit(b, 8 * k + 2 * v, lane & kSevens);
    set_unit(b, 8 * k + 2 * v + 1, lane >> 3 & kSevens);
    rest[v] = lane >> 6 & kThrees;
  }
  set_unit(b, 8 * k + 6, rest[0] | (rest[2] & kOnes) << 2);
  set_unit(b, 8 * k + 7, rest[1] | (rest[2] >> 1 & kOnes) << 2);
}

// Units 8k to 8k + 7 of four bits.
inline void codes4_to_tile(const RowBlock& b, int r, int k, std::byte* codes) {
  for (int i = 0; i < 4; ++i) put(codes, i, r, unit(b, 8 * k + 2 * i) | unit(b, 8 * k + 2 * i + 1) << 4);
}
inline void codes4_from_tile(const std::byte* codes, int r, int k, RowBlock& b) {
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t lane = get(codes, i, r);
    set_unit(b, 8 * k + 2 * i, lane & kNibbles);
    set_unit(b, 8 * k + 2 * i + 1, (lane >> 4) & kNibbles);
  }
}

// Units 8k to 8k + 7 of five bits.
inline void codes5_to_tile(const RowBlock& b, int r, int k, std::byte* codes) {
  std::uint32_t plane = 0;
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t even = unit(b, 8 * k + 2 * i), odd = unit(b, 8 * k + 2 * i + 1);
    put(codes, 1 + i, r, (even & kNibbles) | ((odd >> 1) & kNibbles) << 4);
    plane |= (odd & kOnes) << 2 * i | ((even >> 4) & kOnes) << (2 * i + 1);
  }
  put(codes, 0, r, plane);
}
inline void codes5_from_tile(const std::byte* codes, int r, int k, RowBlock& b) {
  const std::uint32_t plane = get(codes, 0, r);
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t lane = get(codes, 1 + i, r);
    set_unit(b, 8 * k + 2 * i, (lane & kNibbles) | ((plane >> (2 * i + 1)) & kOnes) << 4);
    set_unit(b, 8 * k + 2 * i + 1, ((lane >> 4) & kNibbles) << 1 | ((plane >> 2 * i) & kOnes));
  }
}

// Units 4g to 4g + 3 of six bits.
inline void codes6_to_tile(const RowBlock& b, int r, int g, std::byte* codes) {
  std::uint32_t plane = 0;
  for (int i = 0; i < 2; ++i) {
    const std::uint32_t even = unit(b, 4 * g + 2 * i), odd = unit(b, 4 * g + 2 * i + 1);
    put(codes, 1 + i, r, (even & kNibbles) | ((odd >> 2) & kNibbles) << 4);
    plane |= ((even >> 4) & kThrees) << 4 * i | (odd & kThrees) << (4 * i + 2);
  }
  put(codes, 0, r, plane);
}
inline void codes6_from_tile(const std::byte* codes, int r, int g, RowBlock& b) {
  const std::uint32_t plane = get(codes, 0, r);
  for (int i = 0; i < 2; ++i) {
    const std::uint32_t lane = get(codes, 1 + i, r);
    set_unit(b, 4 * g + 2 * i, (lane & kNibbles) | ((plane >> 4 * i) & kThrees) << 4);
    set_unit(b, 4 * g + 2 * i + 1, ((lane >> 4) & kNibbles) << 2 | ((plane >> (4 * i + 2)) & kThrees));
  }
}

// Units 8k to 8k + 7 of kBits.
template <int kBits>
void codes_to_tile(const RowBlock& b, int r, int k, std::byte* codes) {
  if constexpr (kBits == 2) {
    for (int i = 0; i < 2; ++i) codes2_to_tile(b, r, 2 * k + i, codes + 64 * i);
  } else if constexpr (kBits == 3) {
    codes3_to_tile(b, r, k, codes);
  } else if constexpr (kBits == 4) {
    codes4_to_tile(b, r, k, codes);
  } else if constexpr (kBits == 5) {
    codes5_to_tile(b, r, k, codes);
  } else {
    static_assert(kBits == 6);
    for (int i = 0; i < 2; ++i) codes6_to_tile(b, r, 2 * k + i, codes + 192 * i);
  }
}
template <int kBits>
void codes_from_tile(const std::byte* codes, int r, int k, RowBlock& b) {
  if constexpr (kBits == 2) {
    for (int i = 0; i < 2; ++i) codes2_from_tile(codes + 64 * i, r, 2 * k + i, b);
  } else if constexpr (kBits == 3) {
    codes3_from_tile(codes, r, k, b);
  } else if constexpr (kBits == 4) {
    codes4_from_tile(codes, r, k, b);
  } else if constexpr (kBits == 5) {
    codes5_from_tile(codes, r, k, b);
  } else {
    static_assert(kBits == 6);
    for (int i = 0; i < 2; ++i) codes6_from_tile(codes + 192 * i, r, 2 * k + i, b);
  }
}

}  // namespace dodeca::quant
