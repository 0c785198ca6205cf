#include "cpu/topology.hpp"

#include <doctest/doctest.h>
#include <sched.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

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

TEST_CASE("packages are counted, also where a node has none of its own") {
  const cpu::Topology two = cpu::synthetic_topology("package:2 numa:1 l3:4 core:8 pu:2");
  for (std::size_t i = 0; i < 64; ++i) CHECK(two.cores[i].package == static_cast<int>(i / 32));
  const cpu::Topology nps4 = cpu::synthetic_topology("package:2 numa:4 l3:2 core:8 pu:2");
  CHECK(nps4.nodes.size() == 8);
  for (const cpu::Core& core : nps4.cores) CHECK(core.package == core.node / 4);
  for (const cpu::Core& core : cpu::synthetic_topology("pu:3").cores) CHECK(core.package == 0);
}

TEST_CASE("distances are the firmware's, or 10 and 20") {
  using Matrix = std::vector<std::vector<int>>;
  CHECK(cpu::synthetic_topology("package:2 numa:1 core:2 pu:1").distances == Matrix{{10, 20}, {20, 10}});
  CHECK(cpu::synthetic_topology("pu:3").distances == Matrix{{10}});
  cpu::SyntheticNodes nodes;
  nodes.distances = {{10, 12, 32}, {12, 10, 31}, {32, 30, 10}};
  CHECK(cpu::synthetic_topology("numa:3 core:2 pu:1", nodes).distances == nodes.distances);
  nodes.without_cores = {1};  // distances are those of the nodes that remain
  CHECK(cpu::synthetic_topology("numa:3 core:2 pu:1", nodes).distances == Matrix{{10, 32}, {32, 10}});
}

TEST_CASE("a node without usable cores has memory only") {
  cpu::SyntheticNodes nodes;
  nodes.memory_bytes = {std::uint64_t{3} << 30, std::uint64_t{5} << 30};
  nodes.without_cores = {0};
  const cpu::Topology t = cpu::synthetic_topology("package:2 numa:1 core:4 pu:1", nodes);
  REQUIRE(t.nodes.size() == 1);
  CHECK(t.nodes[0].os_index == 1);
  REQUIRE(t.memory_only.size() == 1);
  CHECK(t.memory_only[0].os_index == 0);
  CHECK(t.memory_only[0].memory_bytes == std::uint64_t{3} << 30);
  CHECK(t.forbidden_nodes.empty());
  REQUIRE(t.cores.size() == 4);
  for (const cpu::Core& core : t.cores) CHECK(core.node == 0);
}

TEST_CASE("lists of nodes without cores are in the kernel's order, whatever hwloc's") {
  const std::string nodes = "package:4 numa:1(indexes=0,3,2,1) core:2 pu:1";
  CHECK(cpu::synthetic_topology(nodes, {.forbidden = {1, 3}}).forbidden_nodes == std::vector<int>{1, 3});
  const cpu::Topology t = cpu::synthetic_topology(nodes, {.without_cores = {1, 3}});
  REQUIRE(t.memory_only.size() == 2);
  CHECK(t.memory_only[0].os_index == 1);
  CHECK(t.memory_only[1].os_index == 3);
}

TEST_CASE("memory of the whole machine beside nodes of sockets is nobody's own") {
  const cpu::Topology t = cpu::synthetic_topology("[numa(memory=64GiB)] package:2 [numa(memory=8GiB)] core:4 pu:1");
  REQUIRE(t.nodes.size() == 2);
  REQUIRE(t.memory_only.size() == 1);
  CHECK(t.memory_only[0].memory_bytes == std::uint64_t{64} << 30);
  for (const cpu::Core& core : t.cores) CHECK(core.node == core.package);
}

TEST_CASE("cores of a node that may not be used take the nearest one's memory") {
  cpu::SyntheticNodes nodes;
  nodes.memory_bytes = {1 << 30, 1 << 30, 1 << 30, 1 << 30};
  SUBCASE("no memory there: the nearest by distance") {
    nodes.memory_bytes[0] = 0;
    nodes.distances = {{10, 32, 12, 32}, {32, 10, 32, 12}, {12, 32, 10, 32}, {32, 12, 32, 10}};
    const cpu::Topology t = cpu::synthetic_topology("package:2 numa:2 core:2 pu:1", nodes);
    REQUIRE(t.nodes.size() == 3);
    CHECK(t.forbidden_nodes.empty());
    CHECK(t.cores.size() == 8);
    for (const cpu::Core& core : t.cores) {
      const int os_index = t.nodes[static_cast<std::size_t>(core.node)].os_index;
      if (core.first_pu < 2) CHECK(os_index == 2);
    }
  }
  SUBCASE("forbidden: all are as far, so one of the same package") {
    nodes.forbidden = {3};
    const cpu::Topology t = cpu::synthetic_topology("package:2 numa:2 core:2 pu:1", nodes);
    CHECK(t.forbidden_nodes == std::vector<int>{3});
    REQUIRE(t.nodes.size() == 3);
    CHECK(t.nodes.back().os_index == 2);
    for (const cpu::Core& core : t.cores)
      if (core.first_pu >= 6) CHECK(core.node == 2);
  }
}

TEST_CASE("nonsense is refused") {
  CHECK_THROWS_AS(cpu::synthetic_topology("numa:2 core:1 pu:1", {.forbidden = {2}}), std::invalid_argument);
  CHECK_THROWS_AS(cpu::synthetic_topology("numa:2 core:1 pu:1", {.distances = {{10, 20}}}), std::invalid_argument);
  CHECK_THROWS_AS(cpu::synthetic_topology("numa:2 core:1 pu:1", {.without_cores = {0, 1}}), std::exception);
  for (const std::string text : {"", "socket two", "package:0", "core:x pu:1"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(cpu::synthetic_topology(text), std::invalid_argument);
  }
}
