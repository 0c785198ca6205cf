// Where the time of forward passes goes: per phase, wall time as member 0 sees it (from the end of the phase before to
// the end of this one, waiting for the others included) and the bytes of weights and cache that the phase reads. Phases
// follow each other without gaps, so their times sum to the pass.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/exec/block.hpp"

namespace dodeca::runtime::exec {

struct Trace {
  struct Entry {
    std::string_view name;  // of the phase; those of all layers are one entry
    std::uint64_t ns = 0, bytes = 0, count = 0;
    std::uint64_t alone_ns = 0;     // of ns, in which one member worked in a barrier and all others waited
    std::uint64_t expert_macs = 0;  // multiply-accumulates, of phases that run experts
  };
  std::vector<Entry> phases;  // in the order in which they were met
  std::uint64_t passes = 0;
  std::uint64_t experts_touched = 0, expert_phases = 0;  // distinct experts, summed over expert_phases layers

  using Clock = std::chrono::steady_clock;
  Clock::time_point last{};
  void start() {
    last = Clock::now();
    ++passes;
  }
  void end(std::string_view phase, const Work& work, std::uint64_t alone_ns);
};

}  // namespace dodeca::runtime::exec
