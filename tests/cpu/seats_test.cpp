#include "cpu/seats.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using namespace dodeca;
using cpu::Seat;

namespace {

struct Machine {
  const char* name;
  const char* description;
};
// Published EPYCs, as hwloc shows them: sockets, memory nodes, core complexes, cores, hardware threads.
constexpr Machine kMachines[] = {
    {"7763", "package:1 numa:1 l3:8 core:8 pu:2"},          {"7763 NPS4", "package:1 numa:4 l3:2 core:8 pu:2"},
    {"2 x 7763", "package:2 numa:1 l3:8 core:8 pu:2"},      {"2 x 7763 NPS4", "package:2 numa:4 l3:2 core:8 pu:2"},
    {"9554", "package:1 numa:1 l3:8 core:8 pu:2"},          {"2 x 9554", "package:2 numa:1 l3:8 core:8 pu:2"},
    {"9654", "package:1 numa:1 l3:12 core:8 pu:2"},         {"9654 NPS4", "package:1 numa:4 l3:3 core:8 pu:2"},
    {"2 x 9654", "package:2 numa:1 l3:12 core:8 pu:2"},     {"2 x 9654 NPS4", "package:2 numa:4 l3:3 core:8 pu:2"},
    {"9755", "package:1 numa:1 l3:16 core:8 pu:2"},         {"9755 NPS2", "package:1 numa:2 l3:8 core:8 pu:2"},
    {"2 x 9755 NPS4", "package:2 numa:4 l3:4 core:8 pu:2"},
};

// The largest difference between the members of two parts; parts without members count too.
template <class Key>
int unevenness(const std::vector<Seat>& seats, int n_parts, Key key) {
  std::vector<int> members(static_cast<std::size_t>(n_parts), 0);
  for (const Seat& seat : seats) ++members[static_cast<std::size_t>(key(seat))];
  return *std::max_element(members.begin(), members.end()) - *std::min_element(members.begin(), members.end());
}

}  // namespace

TEST_CASE("seats: nodes and L3s get equal shares on every EPYC, cores before their second threads") {
  for (const Machine& machine : kMachines) {
    const cpu::Topology topology = cpu::synthetic_topology(machine.description);
    const int n_cores = static_cast<int>(topology.cores.size());
    const int n_l3 = topology.cores.back().l3 + 1, n_nodes = static_cast<int>(topology.nodes.size());
    REQUIRE(cpu::count_seats(topology) == 2 * n_cores);
    for (const int n : {1, 2, 3, 5, 8, 16, 24, 32, 48, 60, 64, 96, 124, 128, 192}) {
      if (n > 2 * n_cores) continue;
      CAPTURE(machine.name);
      CAPTURE(n);
      const std::vector<Seat> seats = cpu::choose_seats(topology, n);
      REQUIRE(static_cast<int>(seats.size()) == n);
      CHECK(unevenness(seats, n_l3, [](const Seat& seat) { return seat.l3; }) <= 1);
      CHECK(unevenness(seats, n_nodes, [](const Seat& seat) { return seat.node; }) <= 1);
      std::set<int> pus;
      std::map<int, int> members_of_core;  // the two threads of core c are 2c and 2c + 1
      for (const Seat& seat : seats) {
        pus.insert(seat.pu);
        ++members_of_core[seat.pu / 2];
        const cpu::Core& core = topology.cores[static_cast<std::size_t>(seat.pu / 2)];
        CHECK((core.node == seat.node && core.l3 == seat.l3));
      }
      CHECK(static_cast<int>(pus.size()) == n);
      CHECK(static_cast<int>(members_of_core.size()) == std::min(n, n_cores));
      CHECK(std::is_sorted(seats.begin(), seats.end(), [](const Seat& a, const Seat& b) { return a.l3 < b.l3; }));
    }
  }
}

TEST_CASE("seats: half of the cores use every L3, as neighbours in the order of members") {
  const std::vector<Seat> seats = cpu::choose_seats(cpu::synthetic_topology("package:1 numa:1 l3:8 core:8 pu:2"), 32);
  for (std::size_t i = 0; i < seats.size(); ++i) CHECK(seats[i].l3 == static_cast<int>(i / 4));
}

TEST_CASE("seats: L3s that do not get one more than the others lie at equal distances") {
  const std::vector<Seat> seats = cpu::choose_seats(cpu::synthetic_topology("package:1 numa:1 l3:12 core:8 pu:1"), 16);
  std::map<int, int> members;
  for (const Seat& seat : seats) ++members[seat.l3];
  for (int l3 = 0; l3 < 12; ++l3) CHECK(members[l3] == (l3 % 3 == 0 ? 2 : 1));
}

TEST_CASE("seats: what affinity took from one L3 is taken by the others") {
  cpu::Topology topology = cpu::synthetic_topology("package:1 numa:1 l3:4 core:8 pu:2");
  topology.cores.erase(topology.cores.begin() + 1, topology.cores.begin() + 8);  // one core is left of the first L3
  std::map<int, int> members;
  for (const Seat& seat : cpu::choose_seats(topology, 19)) ++members[seat.l3];
  CHECK(members == std::map<int, int>{{0, 1}, {1, 6}, {2, 6}, {3, 6}});
  members.clear();
  for (const Seat& seat : cpu::choose_seats(topology, 25))
    ++members[seat.l3];  // a second thread only when cores are out
  CHECK(members == std::map<int, int>{{0, 1}, {1, 8}, {2, 8}, {3, 8}});
}

TEST_CASE("seats: none, or more than there are hardware threads, are refused") {
  const cpu::Topology topology = cpu::synthetic_topology("core:2 pu:2");
  CHECK(cpu::choose_seats(topology, 4).size() == 4);
  for (const int n : {-1, 0, 5}) {
    CAPTURE(n);
    CHECK_THROWS_AS(cpu::choose_seats(topology, n), std::invalid_argument);
  }
}
