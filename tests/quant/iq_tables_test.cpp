#include "quant/iq_tables.hpp"

#include <doctest/doctest.h>

#include "quant/iq_grids.hpp"

using namespace dodeca;

TEST_CASE("every point of IQ1 has a code of its own, and both halves are found by it") {
  const quant::Iq1Table& table = quant::kIqTables.iq1;
  int coded = 0;
  for (unsigned code = 0; code < 4096; ++code) coded += table.point[code] != quant::kNoIq1Point;
  CHECK(coded >= 2048);
  for (unsigned p = 0; p < 2048; ++p) {
    CAPTURE(p);
    const unsigned code = table.code[p];
    REQUIRE(code < 4096);
    CHECK(table.point[code] == p);
    const unsigned low = table.low[code & 255], high = table.high[(code & 0xf0) | code >> 8];
    for (int e = 0; e < 8; ++e) {
      const int wanted = quant::kIq1sGrid.points[p][e] + 1;
      CHECK(static_cast<int>((e < 4 ? low >> 2 * e : high >> 2 * (e - 4)) & 3) == wanted);
      CHECK(static_cast<int>(table.spread[code] >> (8 * (e % 4) + 4 * (e / 4)) & 15) == wanted);
    }
  }
}
