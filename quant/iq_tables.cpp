#include "quant/iq_tables.hpp"

#include <algorithm>
#include <iterator>
#include <vector>

#include "quant/iq_grids.hpp"

namespace dodeca::quant {
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
void fill(TernaryTable<kPoints>& table, const Grid<kPoints, 8>& grid, const int (&values)[4]) {
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
void fill(OctalTable<kPoints>& table, const Grid<kPoints, 4>& grid, const int (&values)[8]) {
  for (int p = 0; p < kPoints; ++p) {
    for (int e = 0; e < 4; ++e) {
      const unsigned element = rank(values, grid.points[p][e]);
      std::uint8_t& pair = e < 2 ? table.low[p] : table.high[p];
      pair = static_cast<std::uint8_t>(pair | element << 3 * (e % 2));
      table.spread[p] |= element << 8 * e;
    }
  }
}

// Halves of IQ1's points as numbers to the base 3, element 0 (or 4) first: a block's first halves, then its second ones.
// Found by simulated annealing over the number of points that no block holds.
constexpr std::uint8_t kIq1Blocks[16][2][16] = {
    {{0, 6, 8, 13, 18, 19, 20, 31, 39, 41, 43, 62, 66, 68, 69, 80},
     {0, 2, 4, 8, 18, 20, 26, 28, 31, 39, 41, 54, 70, 74, 76, 80}},
    {{3, 9, 19, 21, 27, 29, 31, 33, 35, 37, 51, 59, 61, 64, 67, 73},
     {4, 12, 13, 16, 22, 32, 35, 40, 41, 42, 44, 46, 52, 58, 67, 71}},
    {{4, 10, 11, 14, 16, 22, 32, 34, 40, 42, 44, 46, 48, 53, 66, 77},
     {12, 19, 29, 33, 35, 36, 37, 39, 41, 51, 57, 59, 65, 67, 69, 76}},
    {{2, 4, 16, 22, 24, 26, 37, 49, 54, 56, 60, 67, 72, 74, 76, 78},
     {0, 2, 8, 15, 18, 20, 22, 26, 31, 39, 41, 52, 54, 70, 74, 80}},
    {{6, 8, 13, 18, 26, 31, 34, 37, 46, 48, 52, 56, 60, 62, 67, 72},
     {6, 10, 24, 34, 37, 43, 46, 49, 50, 56, 60, 62, 67, 68, 72, 78}},
    {{3, 5, 27, 29, 31, 33, 35, 37, 39, 47, 49, 58, 59, 63, 67, 70},
     {10, 14, 28, 29, 30, 34, 36, 38, 48, 50, 53, 64, 66, 68, 69, 76}},
    {{1, 7, 15, 28, 36, 41, 43, 45, 52, 53, 57, 65, 69, 71, 76, 77},
     {4, 10, 20, 22, 28, 36, 38, 48, 50, 52, 61, 66, 67, 69, 75, 79}},
    {{9, 11, 13, 17, 19, 21, 23, 25, 40, 51, 55, 61, 73, 74, 75, 79},
     {10, 14, 17, 27, 28, 30, 34, 36, 38, 48, 50, 64, 66, 68, 70, 76}},
    {{1, 7, 12, 28, 30, 35, 36, 38, 43, 50, 52, 58, 64, 68, 70, 76},
     {1, 3, 9, 15, 17, 19, 21, 23, 27, 33, 40, 41, 46, 57, 63, 72}},
    {{1, 4, 7, 14, 15, 38, 41, 43, 45, 50, 53, 57, 65, 69, 71, 77},
     {12, 14, 16, 30, 32, 34, 40, 42, 43, 44, 46, 58, 64, 68, 70, 71}},
    {{0, 2, 3, 20, 24, 27, 35, 39, 41, 43, 47, 49, 54, 74, 78, 80},
     {3, 6, 13, 24, 37, 40, 43, 49, 55, 56, 60, 62, 67, 72, 77, 78}},
    {{12, 28, 29, 30, 32, 36, 38, 50, 52, 58, 63, 64, 66, 68, 70, 76},
     {0, 7, 11, 16, 25, 37, 47, 49, 53, 54, 60, 61, 65, 67, 77, 79}},
    {{5, 12, 17, 28, 30, 36, 38, 45, 50, 52, 58, 64, 68, 70, 75, 76},
     {5, 12, 13, 29, 31, 35, 39, 43, 45, 51, 55, 59, 64, 71, 73, 75}},
    {{4, 10, 14, 15, 16, 22, 31, 32, 34, 40, 42, 44, 46, 48, 66, 67},
     {3, 6, 7, 11, 13, 15, 17, 23, 43, 45, 47, 48, 53, 61, 66, 73}},
    {{5, 11, 13, 17, 23, 25, 39, 40, 44, 47, 49, 55, 63, 73, 75, 79},
     {4, 5, 12, 13, 16, 19, 22, 32, 33, 40, 42, 44, 46, 52, 58, 65}},
    {{4, 10, 14, 16, 21, 22, 23, 32, 34, 40, 42, 44, 46, 48, 66, 71},
     {1, 5, 9, 14, 21, 25, 27, 31, 40, 49, 55, 63, 71, 75, 77, 79}},
};

// Ranks of the four elements of a half, two bits each.
std::uint8_t half_ranks(unsigned half) {
  return static_cast<std::uint8_t>(half / 27 | half / 9 % 3 << 2 | half / 3 % 3 << 4 | half % 3 << 6);
}

void fill(Iq1Table& table, const Grid<2048, 8>& grid) {
  std::fill(std::begin(table.point), std::end(table.point), kNoIq1Point);
  std::vector<std::uint16_t> point_of(1 << 16, kNoIq1Point);  // by its ranks
  for (unsigned p = 0; p < 2048; ++p) {
    unsigned ranks = 0;
    for (int e = 0; e < 8; ++e) ranks |= rank(kIq1Values, grid.points[p][e]) << 2 * e;
    point_of[ranks] = static_cast<std::uint16_t>(p);
  }
  for (unsigned code = 0; code < 4096; ++code) {
    const unsigned block = code >> 4 & 15, first = code & 15, second = code >> 8;
    const unsigned low = half_ranks(kIq1Blocks[block][0][first]), high = half_ranks(kIq1Blocks[block][1][second]);
    table.low[first | block << 4] = static_cast<std::uint8_t>(low);
    table.high[second | block << 4] = static_cast<std::uint8_t>(high);
    for (int e = 0; e < 4; ++e) {
      table.spread[code] |= ((low >> 2 * e & 3) | (high >> 2 * e & 3) << 4) << 8 * e;
    }
    const std::uint16_t point = point_of[low | high << 8];
    table.point[code] = point;
    if (point != kNoIq1Point) table.code[point] = static_cast<std::uint16_t>(code);
  }
}

std::uint8_t biased(int bias, int value, bool negative) {
  return static_cast<std::uint8_t>(negative ? bias - value : bias + value);
}

std::uint8_t shifted(int rank, bool negative) {
  return static_cast<std::uint8_t>(kIq1Bias + 8 * kIq1Values[rank] + (negative ? -1 : 1));
}

IqTables make_tables() {
  IqTables t{};
  fill(t.iq2_xxs, kIq2xxsGrid, kIq2Values);
  fill(t.iq2_xs, kIq2xsGrid, kIq2Values);
  fill(t.iq2_s, kIq2sGrid, kIq2Values);
  fill(t.iq1, kIq1sGrid);
  fill(t.iq3_xxs, kIq3xxsGrid, kIq3xxsValues);
  fill(t.iq3_s, kIq3sGrid, kIq3sValues);
  for (unsigned i = 0; i < 128; ++i) t.signs[i] = sign_byte(i);
  for (int i = 0; i < 64; ++i) {
    t.iq2_values[i] = biased(kIq2Bias, kIq2Values[i & 3], i & 4);
    t.iq1_values[i] = shifted(i & 3, i & 4);
    t.iq1_first[i] = shifted(i & 3, i & 16);
    t.iq1_second[i] = shifted(i >> 2 & 3, i & 16);
    t.iq3_xxs_values[i] = biased(kIq3xxsBias, kIq3xxsValues[i & 7], i & 8);
    t.iq3_s_values[i] = biased(kIq3sBias, kIq3sValues[i & 7], i & 8);
    t.iq2_first[i] = biased(kIq2Bias, kIq2Values[i & 3], i & 16);
    t.iq2_second[i] = biased(kIq2Bias, kIq2Values[i >> 2 & 3], i & 32);
  }
  return t;
}

}  // namespace

const IqTables kIqTables = make_tables();

}  // namespace dodeca::quant
