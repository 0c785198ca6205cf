#include "cpu/seats.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

namespace dodeca::cpu {
namespace {

// n dealt to parts that have room for rooms[i] each, as equally as that allows; what does not go to all of them goes to
// parts at equal distances. n is at most the sum of the rooms.
std::vector<int> equal_shares(int n, const std::vector<int>& rooms) {
  std::vector<int> shares(rooms.size(), 0);
  while (n > 0) {
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < rooms.size(); ++i)
      if (shares[i] < rooms[i]) open.push_back(i);
    const std::size_t taken = std::min(static_cast<std::size_t>(n), open.size());
    for (std::size_t i = 0; i < taken; ++i) ++shares[open[i * open.size() / taken]];
    n -= static_cast<int>(taken);
  }
  return shares;
}

// Cores that get one member more; indices into Topology::cores, ascending.
using Cores = std::vector<std::size_t>;

// Deals n to runs of cores with the same key, and each run's share among its cores by `deal`.
template <class Key, class Deal>
Cores deal_to_runs(const Cores& cores, int n, Key key, Deal deal) {
  std::vector<Cores> runs;
  for (const std::size_t core : cores) {
    if (runs.empty() || key(runs.back().back()) != key(core)) runs.emplace_back();
    runs.back().push_back(core);
  }
  std::vector<int> rooms;
  for (const Cores& run : runs) rooms.push_back(static_cast<int>(run.size()));
  const std::vector<int> shares = equal_shares(n, rooms);
  Cores chosen;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Cores part = deal(runs[i], shares[i]);
    chosen.insert(chosen.end(), part.begin(), part.end());
  }
  return chosen;
}

// n of the cores, at most all: equal shares for nodes, then for the L3s of a node, then at equal distances.
Cores spread(const Topology& topology, const Cores& cores, int n) {
  const auto node = [&](std::size_t i) { return topology.cores[i].node; };
  const auto l3 = [&](std::size_t i) { return topology.cores[i].l3; };
  const auto itself = [](std::size_t i) { return i; };
  const auto all = [](const Cores& run, int share) { return share > 0 ? run : Cores(); };
  const auto within_l3 = [&](const Cores& run, int share) { return deal_to_runs(run, share, itself, all); };
  const auto within_node = [&](const Cores& run, int share) { return deal_to_runs(run, share, l3, within_l3); };
  return deal_to_runs(cores, n, node, within_node);
}

int threads_of(const Core& core) { return 1 + static_cast<int>(core.siblings.size()); }

}  // namespace

int count_seats(const Topology& topology) {
  return std::accumulate(topology.cores.begin(), topology.cores.end(), 0,
                         [](int n, const Core& core) { return n + threads_of(core); });
}

std::vector<Seat> choose_seats(const Topology& topology, int n) {
  if (n < 1 || n > count_seats(topology))
    throw std::invalid_argument(std::to_string(n) + " members on a machine with " +
                                std::to_string(count_seats(topology)) + " hardware threads");
  std::vector<int> members(topology.cores.size(), 0);
  for (int round = 0; n > 0; ++round) {
    Cores open;
    for (std::size_t i = 0; i < topology.cores.size(); ++i)
      if (threads_of(topology.cores[i]) > round) open.push_back(i);
    const int share = std::min(n, static_cast<int>(open.size()));
    for (const std::size_t core : spread(topology, open, share)) ++members[core];
    n -= share;
  }
  std::vector<Seat> seats;
  for (std::size_t i = 0; i < topology.cores.size(); ++i) {
    const Core& core = topology.cores[i];
    for (int k = 0; k < members[i]; ++k)
      seats.push_back({k == 0 ? core.first_pu : core.siblings[static_cast<std::size_t>(k - 1)], core.node, core.l3});
  }
  return seats;
}

}  // namespace dodeca::cpu
