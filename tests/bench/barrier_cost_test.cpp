#include "bench/barrier_cost.hpp"

#include <doctest/doctest.h>

using namespace dodeca;
using namespace dodeca::bench;

TEST_CASE("barrier times are sorted out without the clock's own") {
  std::vector<double> times;
  for (int i = 100; i >= 0; --i) times.push_back(100 + i);
  const BarrierCost cost = summarize(times, 20);
  CHECK(cost.min_ns == 80);
  CHECK(cost.median_ns == 130);
  CHECK(cost.p99_ns == 179);
  CHECK(cost.token_us(61, 8) == doctest::Approx(130 * 61 * 8 / 1e3));
  CHECK(summarize({10, 10}, 20).min_ns == 0);
  CHECK(summarize({}, 20).median_ns == 0);
}

TEST_CASE("entering a team takes time, and leaves it as patient as it was") {
  cpu::Team team(2);
  const EntryCost cost = measure_entry(team, 0.02);
  CHECK(cost.asleep_us > 0);
  CHECK(cost.awake_us > 0);
  CHECK(team.idle_spin() == cpu::Team::kIdleSpin);
}

TEST_CASE("a barrier of two costs more than nothing") {
  cpu::Team team(2);
  const BarrierCost cost = measure_barrier(team, 0.01);
  CHECK(cost.median_ns > 0);
  CHECK(cost.min_ns <= cost.median_ns);
  CHECK(cost.median_ns <= cost.p99_ns);
}
