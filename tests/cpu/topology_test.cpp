#include "cpu/topology.hpp"

#include <doctest/doctest.h>
#include <sched.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>

using namespace dodeca;

TEST_CASE("this machine: at least one core and node, processors distinct and within the affinity") {
  const cpu::Topology topology = cpu::read_topology();
  REQUIRE(!topology.cores.empty());
  REQUIRE(!topology.nodes.empty());
  cpu_set_t allowed;
  REQUIRE(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  std::set<int> pus;
  for (const cpu::Core& core : topology.cores) {
    CHECK(CPU_ISSET(core.first_pu, &allowed));
    CHECK(core.node >= 0);
    CHECK(core.node < static_cast<int>(topology.nodes.size()));
    pus.insert(core.first_pu);
  }
  CHECK(pus.size() == topology.cores.size());
}

TEST_CASE("affinity restricts the cores") {
  cpu_set_t before;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  const int pu = cpu::read_topology().cores.back().first_pu;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(pu, &one);
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  const cpu::Topology restricted = cpu::read_topology();
  sched_setaffinity(0, sizeof before, &before);
  REQUIRE(restricted.cores.size() == 1);
  CHECK(restricted.cores[0].first_pu == pu);
}

TEST_CASE("two sockets: one thread per core, node-major, then L3") {
  const cpu::Topology t = cpu::synthetic_topology("package:2 numa:1 l3:4 core:8 pu:2");
  CHECK_FALSE(t.this_system);
  CHECK(t.nodes.size() == 2);
  REQUIRE(t.cores.size() == 64);
  for (std::size_t i = 0; i < 64; ++i) {
    CHECK(t.cores[i].node == static_cast<int>(i / 32));
    CHECK(t.cores[i].l3 == static_cast<int>(i / 8));
    CHECK(t.cores[i].first_pu == static_cast<int>(2 * i));
  }
}

TEST_CASE("hardware threads numbered after all cores: the first of each core is taken") {
  const cpu::Topology t = cpu::synthetic_topology("package:1 core:4 pu:2(indexes=0,4,1,5,2,6,3,7)");
  REQUIRE(t.cores.size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(t.cores[static_cast<std::size_t>(i)].first_pu == i);
}

TEST_CASE("node sizes and cache sizes come through; four nodes per socket") {
  const cpu::Topology t =
      cpu::synthetic_topology("package:1 numa:4(memory=64GiB) l3:2(size=32MiB) l2:8(size=1MiB) core:1 pu:1");
  REQUIRE(t.nodes.size() == 4);
  CHECK(t.cores.size() == 64);
  CHECK(t.l2_bytes == std::uint64_t{1} << 20);
  CHECK(t.l3_bytes == std::uint64_t{32} << 20);
  for (const cpu::Node& node : t.nodes) CHECK(node.memory_bytes == std::uint64_t{64} << 30);
  CHECK(std::is_sorted(t.cores.begin(), t.cores.end(), [](auto& a, auto& b) { return a.node < b.node; }));
}

TEST_CASE("a machine without L3 or named cores still has cores") {
  CHECK(cpu::synthetic_topology("pu:3").cores.size() == 3);
  CHECK(cpu::synthetic_topology("numa:2 pu:2").nodes.size() == 2);
}

TEST_CASE("nonsense is refused") {
  for (const std::string text : {"", "socket two", "package:0", "core:x pu:1"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(cpu::synthetic_topology(text), std::invalid_argument);
  }
}
