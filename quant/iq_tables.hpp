// The lattices of the IQ types (quant/iq_grids.hpp) as the kernels look them up: elements as ranks 0, 1, ... among the
// values of the lattice, packed.
#pragma once

#include <cstdint>

namespace dodeca::quant {

// Points of eight ternary elements. low and high: elements 0..3 and 4..7, two bits each. spread: byte e holds element e
// in its low nibble and element 4 + e in its high one.
template <int kPoints>
struct TernaryTable {
  alignas(64) std::uint8_t low[kPoints], high[kPoints];
  alignas(64) std::uint32_t spread[kPoints];
};
// Points of four elements of eight values. low and high: elements 0, 1 and 2, 3, three bits each. spread: byte e holds
// element e.
template <int kPoints>
struct OctalTable {
  alignas(64) std::uint8_t low[kPoints], high[kPoints];
  alignas(64) std::uint32_t spread[kPoints];
};

// IQ1's points as codes of 12 bits: 16 blocks of 16 first halves times 16 second halves hold all 2048 points (and 2048
// others). Bits 4..7 of a code are the block, 0..3 the first half and 8..11 the second half there: both halves are
// looked up among 256.
struct Iq1Table {
  alignas(64) std::uint8_t low[256],
      high[256];                           // [first half | block << 4] and [second half | block << 4], two bits each
  alignas(64) std::uint32_t spread[4096];  // of a code, as in TernaryTable
  std::uint16_t code[2048], point[4096];   // of a point; of a code, kNoIq1Point where it stands for none
};
inline constexpr std::uint16_t kNoIq1Point = 0xffff;

struct IqTables {
  TernaryTable<256> iq2_xxs;
  TernaryTable<512> iq2_xs;
  TernaryTable<1024> iq2_s;
  Iq1Table iq1;
  OctalTable<256> iq3_xxs;
  OctalTable<512> iq3_s;
  alignas(64) std::uint8_t signs[128];  // of a sign index: eight bits
  // What a rank stands for, plus a bias that makes it positive: [rank + 4 or 8 * negative], in every 16 bytes. For IQ1_M
  // "negative" is the shift: 8 * value + 1 or - 1.
  alignas(64) std::uint8_t iq2_values[64], iq1_values[64], iq3_xxs_values[64], iq3_s_values[64];
  // IQ2 and IQ1_M again for two elements at once: [rank of the first + 4 * rank of the second + 16 and 32 * negative]
  // (IQ1_M: 16 for both).
  alignas(64) std::uint8_t iq2_first[64], iq2_second[64], iq1_first[64], iq1_second[64];
};
inline constexpr int kIq2Bias = 43, kIq1Bias = 9, kIq3xxsBias = 62, kIq3sBias = 15;

extern const IqTables kIqTables;

}  // namespace dodeca::quant
