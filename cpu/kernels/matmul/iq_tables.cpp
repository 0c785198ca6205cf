#include "cpu/kernels/matmul/iq_tables.hpp"

#include "quant/iq_grids.hpp"

namespace dodeca::cpu {
namespace {

constexpr int kIq2Values[4] = {8, 25, 43, 0};
constexpr int kIq1Values[4] = {-1, 0, 1, 0};
constexpr int kIq3xxsValues[8] = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr int kIq3sValues[8] = {1, 3, 5, 7, 9, 11, 13, 15};

template <int kValues>
unsigned rank(const int (&values)[kValues], int value) {
  unsigned i = 0;
  while (values[i] != value) ++i;
  return i;
}

template <int kPoints>
void fill(TernaryTable<kPoints>& table, const quant::Grid<kPoints, 8>& grid, const int (&values)[4]) {
  for (int p = 0; p < kPoints; ++p) {
    for (int e = 0; e < 4; ++e) {
      const unsigned low = rank(values, grid.points[p][e]), high = rank(values, grid.points[p][4 + e]);
      table.low[p] = static_cast<std::uint8_t>(table.low[p] | low << 2 * e);
      table.high[p] = static_cast<std::uint8_t>(table.high[p] | high << 2 * e);
      table.spread[p] |= (low | high << 4) << 8 * e;
    }
  }
}
template <int kPoints>
void fill(OctalTable<kPoints>& table, const quant::Grid<kPoints, 4>& grid, const int (&values)[8]) {
  for (int p = 0; p < kPoints; ++p) {
    for (int e = 0; e < 4; ++e) {
      const unsigned element = rank(values, grid.points[p][e]);
      std::uint8_t& pair = e < 2 ? table.low[p] : table.high[p];
      pair = static_cast<std::uint8_t>(pair | element << 3 * (e % 2));
      table.spread[p] |= element << 8 * e;
    }
  }
}

std::uint8_t biased(int bias, int value, bool negative) {
  return static_cast<std::uint8_t>(negative ? bias - value : bias + value);
}

IqTables make_tables() {
  IqTables t{};
  fill(t.iq2_xxs, quant::kIq2xxsGrid, kIq2Values);
  fill(t.iq2_xs, quant::kIq2xsGrid, kIq2Values);
  fill(t.iq2_s, quant::kIq2sGrid, kIq2Values);
  fill(t.iq1, quant::kIq1sGrid, kIq1Values);
  fill(t.iq3_xxs, quant::kIq3xxsGrid, kIq3xxsValues);
  fill(t.iq3_s, quant::kIq3sGrid, kIq3sValues);
  for (unsigned i = 0; i < 128; ++i) t.signs[i] = quant::sign_byte(i);
  for (int i = 0; i < 64; ++i) {
    t.iq2_values[i] = biased(kIq2Bias, kIq2Values[i & 3], i & 4);
    t.iq1_values[i] = static_cast<std::uint8_t>(kIq1Bias + 8 * kIq1Values[i & 3] + (i & 4 ? -1 : 1));
    t.iq3_xxs_values[i] = biased(kIq3xxsBias, kIq3xxsValues[i & 7], i & 8);
    t.iq3_s_values[i] = biased(kIq3sBias, kIq3sValues[i & 7], i & 8);
    t.iq2_first[i] = biased(kIq2Bias, kIq2Values[i & 3], i & 16);
    t.iq2_second[i] = biased(kIq2Bias, kIq2Values[i >> 2 & 3], i & 32);
  }
  return t;
}

}  // namespace

const IqTables kIqTables = make_tables();

}  // namespace dodeca::cpu
