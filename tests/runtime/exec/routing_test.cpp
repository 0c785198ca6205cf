// Which slots of a row are the lightest.
#include "runtime/exec/routing.hpp"

#include <doctest/doctest.h>

#include <vector>

TEST_CASE("the lightest slots of every row, wherever the rows' slots are") {
  const std::vector<std::int32_t> rows = {0, 1, 0, 1, 0, 1};
  const std::vector<float> weights = {0.5f, 0.2f, 0.3f, 0.2f, 0.1f, 0.7f};
  const auto marks = [&](std::int64_t n) {
    std::vector<char> result;
    dodeca::runtime::exec::mark_lightest_slots(rows, weights, n, result);
    return result;
  };
  CHECK(marks(0) == std::vector<char>{0, 0, 0, 0, 0, 0});
  CHECK(marks(1) == std::vector<char>{0, 0, 0, 1, 1, 0});  // of equal ones the last
  CHECK(marks(2) == std::vector<char>{0, 1, 1, 1, 1, 0});
  CHECK(marks(3) == std::vector<char>{1, 1, 1, 1, 1, 1});
}
