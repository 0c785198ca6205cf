// How evenly the work of one generated token is dealt over a team of any size, by the executor's own blocks, phases and
// dealing: nothing is read or computed, so any published shape and any machine can be asked about.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/exec/phase.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::predict {

// Bytes of a phase's loads that each member of a team gets.
std::vector<double> bytes_by_member(std::span<const exec::TileLoad> loads, int n_threads, int n_parts = 1);

struct ShareRequest {
  std::vector<int> n_threads;
  int l3_members = 8;           // neighbours that share an L3
  std::int64_t position = 511;  // of the row
};

// One phase and team size; of all layers that have the phase, the one dealt worst.
struct PhaseShares {
  std::string phase, block;  // "output", "layer 3 attention"
  int n_threads = 0;
  double largest_tile = 0;    // bytes
  double bytes = 0;           // of the phase in that block; attention: of cached rows, for every 16 heads
  double worst_member = 1.0;  // most bytes of a member / mean
  double worst_l3 = 1.0;      // most bytes of an L3's members / its share
};

// Phases in the order of the layers, then team sizes in theirs; only phases that deal loads.
std::vector<PhaseShares> count_shares(const Plan& plan, const ShareRequest& request);

}  // namespace dodeca::runtime::predict
