#include "bench/extrapolation.hpp"

#include <doctest/doctest.h>

using namespace dodeca::bench;

TEST_CASE("a slice's time is taken apart and put together with the whole model's layers") {
  // 1 dense layer of 20, 3 MoE layers of 50, output 30: 200 in all
  const Extrapolation e = extrapolate(200, 30, 20, {1, 3}, {3, 58});
  CHECK(e.moe_ns == doctest::Approx(50));
  CHECK(e.whole_ns() == doctest::Approx(30 + 3 * 20 + 58 * 50));
  CHECK(e.plausible());
  // holding everything gives back what was measured
  CHECK(extrapolate(200, 30, 20, {1, 3}, {1, 3}).whole_ns() == doctest::Approx(200));
}

TEST_CASE("without layers of one kind all but the output is the other kind") {
  const Extrapolation moe = extrapolate(230, 30, 0, {0, 4}, {0, 48}), dense = extrapolate(230, 30, 0, {2, 0}, {126, 0});
  CHECK(moe.whole_ns() == doctest::Approx(30 + 48 * 50));
  CHECK(dense.whole_ns() == doctest::Approx(30 + 126 * 100));
  CHECK(dense.plausible());
}

TEST_CASE("parts that took longer than their sum are not believed") {
  const Extrapolation e = extrapolate(40, 30, 20, {1, 3}, {3, 58});
  CHECK_FALSE(e.plausible());
  CHECK(e.moe_ns == 0);
}

TEST_CASE("the output matrix is used once per batch of the prompt and once per generated token") {
  CHECK(n_outputs(512, 2048, 0) == 1);
  CHECK(n_outputs(2049, 2048, 0) == 2);
  CHECK(n_outputs(0, 2048, 128) == 128);
  CHECK(n_outputs(512, 128, 16) == 20);
}
