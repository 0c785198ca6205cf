// A team divided among the parts of its work: where each part's data lies on a memory node of its own, the members there
// work on it alone, and most barriers concern nobody else. The members that work on the same parts are a crew.
#pragma once

#include <memory>
#include <vector>

#include "cpu/barrier.hpp"
#include "cpu/team.hpp"

namespace dodeca::cpu {

// Which parts a member works on, and its place among those that do.
struct CrewPlace {
  int first_part = 0, end_part = 1;
  int index = 0, size = 1;  // of the members of its crew
  int crew = 0;
  bool has(std::int64_t part) const { return part >= first_part && part < end_part; }
  // The member's share of [0, count), which the crew works on.
  Range share(std::int64_t count, std::int64_t grain = 1) const { return part_of(count, grain, index, size); }
};

inline constexpr int kAllParts = -1;  // all parts are worked on in this process

// The places of n members. nodes: of each member, ascending, or none; where there are as many nodes as parts, the members
// of a node work on its part. Otherwise neighbours make crews of equal size, or a member takes neighbouring parts where
// parts outnumber members.
std::vector<CrewPlace> crew_places(int n_members, int n_parts, const std::vector<int>& nodes = {});

class Crews {
 public:
  // here: the part that all members work on, the others being other processes' business; or kAllParts.
  Crews(const Team& team, int n_parts, int here = kAllParts);

  int n_parts() const { return n_parts_; }
  // Parts [begin, end) are worked on here.
  Range parts_here() const { return {alone_.first_part, alone_.end_part}; }
  bool has(std::int64_t part) const { return alone_.has(part); }
  int n_crews() const { return places_.back().crew + 1; }
  const CrewPlace& place(const Member& member) const {
    // A body that runs its own team runs there alone.
    return member.size == static_cast<int>(places_.size()) ? places_[static_cast<std::size_t>(member.index)] : alone_;
  }
  // Of the member's crew.
  void barrier(const Member& member) const;

 private:
  int n_parts_;
  std::vector<CrewPlace> places_;
  CrewPlace alone_;
  std::vector<std::unique_ptr<Barrier>> barriers_;  // of each crew
};

// A counter for each crew, which deals the work on its parts.
class CrewCounters {
 public:
  explicit CrewCounters(std::int64_t n_parts) : counters_(static_cast<std::size_t>(n_parts)) {}  // as many at most
  WorkCounter& of(const CrewPlace& place) { return counters_[static_cast<std::size_t>(place.crew)]; }
  void reset() {
    for (WorkCounter& counter : counters_) counter.reset();
  }

 private:
  std::vector<WorkCounter> counters_;
};

}  // namespace dodeca::cpu
