#include "runtime/predict/shares.hpp"

#include <algorithm>

#include "runtime/predict/phase_walk.hpp"

namespace dodeca::runtime::predict {
namespace {

PhaseShares shares_of(std::span<const exec::TileLoad> loads, int n_threads, int n_parts, int l3_members) {
  const std::vector<double> bytes = bytes_by_member(loads, n_threads, n_parts);
  PhaseShares shares{.n_threads = n_threads};
  for (const double own : bytes) shares.bytes += own;
  for (const exec::TileLoad& load : loads)
    shares.largest_tile = std::max(shares.largest_tile, static_cast<double>(load.tile_bytes));
  const double mean = shares.bytes / n_threads;
  for (int begin = 0; begin < n_threads; begin += l3_members) {
    const int end = std::min(n_threads, begin + l3_members);
    double group = 0;
    for (int i = begin; i < end; ++i) {
      group += bytes[static_cast<std::size_t>(i)];
      shares.worst_member = std::max(shares.worst_member, bytes[static_cast<std::size_t>(i)] / mean);
    }
    shares.worst_l3 = std::max(shares.worst_l3, group / (mean * (end - begin)));
  }
  return shares;
}

void keep_worst(std::vector<PhaseShares>& all, PhaseShares shares) {
  const auto found = std::ranges::find_if(
      all, [&](const PhaseShares& s) { return s.phase == shares.phase && s.n_threads == shares.n_threads; });
  if (found == all.end())
    all.push_back(std::move(shares));
  else if (shares.worst_member > found->worst_member)
    *found = std::move(shares);
}

}  // namespace

std::vector<double> bytes_by_member(std::span<const exec::TileLoad> loads, int n_threads, int n_parts) {
  std::vector<double> bytes(static_cast<std::size_t>(n_threads), 0.0);
  const std::vector<cpu::CrewPlace> places = cpu::crew_places(n_threads, n_parts);
  for (int i = 0; i < n_threads; ++i) {
    exec::for_share(loads, places[static_cast<std::size_t>(i)], [&](std::size_t load, const cpu::Range& tiles) {
      bytes[static_cast<std::size_t>(i)] +=
          static_cast<double>(tiles.end - tiles.begin) * static_cast<double>(loads[load].tile_bytes);
    });
  }
  return bytes;
}

std::vector<PhaseShares> count_shares(const Plan& plan, const ShareRequest& request) {
  std::vector<PhaseShares> all;
  walk_phases(plan, {.position = request.position},
              [&](const BlockPlan& block, const exec::Phase& phase, const exec::Pass& pass) {
                if (!exec::deals_loads(phase, pass)) return;
                for (const int n : request.n_threads) {
                  PhaseShares shares = shares_of(phase.loads(pass), n, pass.crews.n_parts(), request.l3_members);
                  shares.phase = phase.name;
                  shares.block = block.name();
                  keep_worst(all, std::move(shares));
                }
              });
  return all;
}

}  // namespace dodeca::runtime::predict
