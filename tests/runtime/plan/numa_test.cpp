#include "runtime/plan/numa.hpp"

#include <doctest/doctest.h>

#include "runtime/base/error.hpp"
#include "tests/support/error_of.hpp"

namespace dodeca::runtime {
namespace {

using Mode = NumaRequest::Mode;

cpu::Topology two_sockets() { return cpu::synthetic_topology("package:2 numa:2 l3:2 core:4 pu:1"); }

std::string refusal_of(const std::string& text) {
  return tests::sentence_of([&] { parse_numa(text); });
}

}  // namespace

TEST_CASE("what is asked for is parsed, and what is not understood is refused by name") {
  CHECK(parse_numa("").mode == Mode::kAuto);
  CHECK(parse_numa("off").mode == Mode::kOff);
  CHECK(parse_numa("interleave").mode == Mode::kInterleave);
  CHECK(parse_numa("nodes=2,0").nodes == std::vector<int>{0, 2});
  CHECK(parse_numa("parts=64").parts == 64);
  for (const char* bad : {"on", "nodes=", "nodes=a", "nodes=0,", "nodes=-1", "nodes=0,0", "parts=0", "parts=65",
                          "parts=", "parts=99999999999", "parts=2x"})
    CHECK_MESSAGE(!refusal_of(bad).empty(), bad);
  CHECK(refusal_of("nodes=1,x") == "'x' in 'nodes=1,x' is no number");
}

TEST_CASE("every node with processors gets a part") {
  const NumaChoice choice = choose_numa(two_sockets(), {});
  CHECK(choice.shares == equal_shares(4));
  CHECK(choice.placement.node_of_each() == std::vector<int>{0, 1, 2, 3});
  CHECK(choice.placement.reason == "4 nodes (0, 1, 2, 3): a part on each");
  CHECK(choice.topology.cores.size() == 32);
  CHECK(choice.warnings.empty());
}

TEST_CASE("on one node everything stays as it is first touched") {
  const NumaChoice choice = choose_numa(cpu::synthetic_topology("package:1 numa:1 l3:1 core:4 pu:1"), {});
  CHECK(choice.shares.size() == 1);
  CHECK(!choice.placement.bound());
}

TEST_CASE("chosen nodes alone work, in order, whatever their numbers") {
  const NumaChoice choice = choose_numa(two_sockets(), parse_numa("nodes=3,1"));
  CHECK(choice.placement.node_of_each() == std::vector<int>{1, 3});
  CHECK(choice.shares.size() == 2);
  REQUIRE(choice.topology.cores.size() == 16);
  for (std::size_t i = 0; i < 16; ++i) CHECK(choice.topology.cores[i].node == static_cast<int>(i / 8));
  CHECK(choice.topology.cores[0].first_pu == 8);
  CHECK(choice.topology.distances.size() == 2);
  CHECK_THROWS_AS(choose_numa(two_sockets(), parse_numa("nodes=4")), Error);
  // One node: bound, not cut.
  const NumaChoice one = choose_numa(two_sockets(), parse_numa("nodes=2"));
  CHECK(one.shares.size() == 1);
  CHECK(one.placement.node_of_each() == std::vector<int>{2});
}

TEST_CASE("interleaved memory and virtual nodes") {
  const NumaChoice interleaved = choose_numa(two_sockets(), parse_numa("interleave"));
  CHECK(interleaved.shares.size() == 1);
  CHECK(interleaved.placement.nodes_of(0) == std::vector<int>{0, 1, 2, 3});
  CHECK(interleaved.placement.node_of_each().empty());
  const NumaChoice parts = choose_numa(two_sockets(), parse_numa("parts=3"));
  CHECK(parts.shares.size() == 3);
  CHECK(!parts.placement.bound());
  const NumaChoice off = choose_numa(two_sockets(), parse_numa("off"));
  CHECK(off.shares.size() == 1);
  CHECK(!off.placement.bound());
}

TEST_CASE("what cannot be cut is interleaved over the nodes that would have had parts") {
  CHECK(choose_numa(two_sockets(), {}, true).placement.nodes_of(0) == std::vector<int>{0, 1, 2, 3});
  CHECK(choose_numa(two_sockets(), parse_numa("nodes=0,3"), true).placement.nodes_of(0) == std::vector<int>{0, 3});
  CHECK(choose_numa(two_sockets(), parse_numa("parts=4"), true).shares.size() == 1);
}

TEST_CASE("one node that is left of several is bound to, so that nothing spills into the others") {
  const NumaChoice choice =
      choose_numa(cpu::synthetic_topology("package:2 numa:1 core:4 pu:1", {.without_cores = {0}}), {});
  CHECK(choice.shares.size() == 1);
  CHECK(choice.placement.node_of_each() == std::vector<int>{1});
  CHECK(!choose_numa(cpu::synthetic_topology("numa:1 core:4 pu:1"), {}).placement.bound());
}

TEST_CASE("what runs whole says so where parts were asked for, and nodes with few cores are warned of") {
  CHECK(choose_numa(two_sockets(), parse_numa("parts=4"), true).warnings ==
        std::vector<std::string>{"4 parts were asked for, and this cannot run in parts"});
  cpu::Topology uneven = two_sockets();
  CHECK(choose_numa(uneven, {}).warnings.empty());
  std::erase_if(uneven.cores, [](const cpu::Core& core) { return core.node == 2 && core.first_pu % 4 != 0; });
  const std::vector<std::string> warnings = choose_numa(uneven, {}).warnings;
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0] ==
        "node 2 has 2 usable cores and node 0 has 8, and each works on an equal part of the model: node 0 alone may be "
        "faster");
  CHECK(choose_numa(uneven, parse_numa("nodes=0,1,3")).warnings.empty());
}

TEST_CASE("a node without processors is used by interleaving alone, and forbidden ones by nothing") {
  const cpu::Topology topology =
      cpu::synthetic_topology("package:1 numa:4 core:2 pu:1", {.without_cores = {1}, .forbidden = {3}});
  const NumaChoice choice = choose_numa(topology, {});
  CHECK(choice.placement.node_of_each() == std::vector<int>{0, 2});
  REQUIRE(!choice.warnings.empty());
  CHECK(choice.warnings[0] == "1 node (1) without a processor that this process may use: its memory is not used");
  CHECK(choose_numa(topology, parse_numa("interleave")).placement.nodes_of(0) == std::vector<int>{0, 1, 2});
  CHECK(tests::sentence_of([&] { choose_numa(topology, parse_numa("nodes=1")); }) ==
        "node 1 has memory and no processor that this process may use; nodes with both are 0, 2");
}

}  // namespace dodeca::runtime
