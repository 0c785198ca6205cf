// Where the members of a team sit: which hardware threads a number of members takes on a machine.
#pragma once

#include <vector>

#include "cpu/topology.hpp"

namespace dodeca::cpu {

// One hardware thread, for one member.
struct Seat {
  int pu = 0;    // OS index
  int node = 0;  // index into Topology::nodes
  int l3 = 0;    // as Core::l3
};

// How many members can have a hardware thread each.
int count_seats(const Topology& topology);

// n seats such that nodes get equal shares, in each node the L3s, and in each L3 the cores: every L3 has its own link to
// memory, so members on half of the L3s would read at half of the bandwidth. Every core gets a member before any core
// gets a second one. Shares differ by one at most, unless affinity left a part fewer cores than its share. In the order
// of the cores, so that members with neighbouring indices share an L3. Throws std::invalid_argument for n < 1 or n >
// count_seats().
std::vector<Seat> choose_seats(const Topology& topology, int n);

}  // namespace dodeca::cpu
