#include "runtime/engine/workers.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace dodeca::runtime::engine {
namespace {

const Log kSilent = [](Level, std::string_view) {};

cpu::Topology topology_of(int n_cores, double quota) {
  cpu::Topology topology;
  for (int i = 0; i < n_cores; ++i) topology.cores.push_back({.first_pu = i});
  topology.cpu_quota = quota;
  return topology;
}

}  // namespace

TEST_CASE("there is a thread for each core, and fewer where less processor time is granted") {
  CHECK(default_threads(topology_of(8, 0)) == 8);
  CHECK(default_threads(topology_of(8, 2.4)) == 2);
  CHECK(default_threads(topology_of(8, 0.2)) == 1);
  CHECK(default_threads(topology_of(8, 100)) == 8);
  CHECK(default_threads(topology_of(0, 0)) == 1);
}

TEST_CASE("prompts run on the one team unless another size is wanted") {
  const Workers one(1, 0, kSilent), same(1, 1, kSilent), two(1, 2, kSilent);
  CHECK(&one.prompts() == &one.generation());
  CHECK(&same.prompts() == &same.generation());
  CHECK(two.generation().size() == 1);
  CHECK(two.prompts().size() == 2);
  CHECK(two.most_threads() == 2);
  cpu::Team team(2);
  CHECK(&Workers(team).prompts() == &team);
}

TEST_CASE("more threads than processors are said and run unbound") {
  std::vector<std::string> lines;
  const int n = cpu::count_seats(cpu::read_topology()) + 64;
  const auto team = make_team(n, [&](Level level, std::string_view line) {
    CHECK(level == Level::kWarning);
    lines.emplace_back(line);
  });
  CHECK(team->size() == n);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("threads are not bound") != std::string::npos);
}

}  // namespace dodeca::runtime::engine
