#include "cpu/crews.hpp"

#include <algorithm>

namespace dodeca::cpu {

std::vector<CrewPlace> crew_places(int n_members, int n_parts, const std::vector<int>& nodes) {
  std::vector<int> distinct = nodes;
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  const bool by_node = static_cast<int>(distinct.size()) == n_parts && static_cast<int>(nodes.size()) == n_members;
  const int n_crews = std::min(n_members, n_parts);
  std::vector<CrewPlace> places;
  for (int crew = 0; crew < n_crews; ++crew) {
    const auto cut = [&](int count, int c) { return static_cast<int>(part_of(count, 1, c, n_crews).begin); };
    const auto end = [&](int count, int c) { return static_cast<int>(part_of(count, 1, c, n_crews).end); };
    int size = end(n_members, crew) - cut(n_members, crew);
    if (by_node) size = static_cast<int>(std::ranges::count(nodes, distinct[static_cast<std::size_t>(crew)]));
    for (int index = 0; index < size; ++index)
      places.push_back({cut(n_parts, crew), end(n_parts, crew), index, size, crew});
  }
  return places;
}

Crews::Crews(const Team& team, int n_parts, int here)
    : n_parts_(n_parts), alone_{here == kAllParts ? 0 : here, here == kAllParts ? n_parts : here + 1, 0, 1, 0} {
  if (here != kAllParts) {
    for (int index = 0; index < team.size(); ++index) places_.push_back({here, here + 1, index, team.size(), 0});
    return;
  }
  std::vector<int> nodes;
  for (const Seat& seat : team.seats()) nodes.push_back(seat.node);
  places_ = crew_places(team.size(), n_parts, nodes);
  if (n_crews() == 1) return;
  for (std::size_t begin = 0; begin < places_.size(); begin += static_cast<std::size_t>(places_[begin].size)) {
    std::vector<int> domains(static_cast<std::size_t>(places_[begin].size), 0);
    for (std::size_t i = 0; i < domains.size() && !nodes.empty(); ++i) domains[i] = team.seats()[begin + i].l3;
    barriers_.push_back(std::make_unique<Barrier>(domains));
  }
}

void Crews::barrier(const Member& member) const {
  const CrewPlace& own = place(member);
  if (barriers_.empty() || member.size == 1) return member.barrier();
  if (own.size > 1) member.barrier_at(*barriers_[static_cast<std::size_t>(own.crew)], own.index);
}

}  // namespace dodeca::cpu
