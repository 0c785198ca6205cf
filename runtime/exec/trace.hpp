// Where the time of forward passes goes: per phase of a layer, wall time as member 0 sees it (from the end of the phase
// before to the end of this one, waiting for the others included) and the bytes of weights and cache that the phase
// reads. Phases follow each other without gaps, so their times sum to the pass.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace dodeca::runtime {

enum class Phase {
  kEmbedding,    // embedding rows, first norm
  kLatent,       // q_a (or q), kv_a; their norms, cache row
  kQuery,        // q_b, rope, absorbed k_b
  kAttention,    // over the cache
  kValue,        // v_b
  kOutput,       // output projection; residual, norm
  kDenseGateUp,  // of layers without experts
  kDenseDown,    // residual, norm
  kRouter,       // router, shared expert's gate and up; choice of experts
  kGateUp,       // routed experts
  kDown,         // routed and shared experts; residual, norm
  kHead,         // last norm, output head
};
inline constexpr std::array<std::string_view, 12> kPhaseNames = {
    "embedding",      "q_a, kv_a",  "q_b, k_b",       "attention", "v_b",  "output",
    "dense gate, up", "dense down", "router, shared", "gate, up",  "down", "head"};

struct Trace {
  struct Entry {
    std::uint64_t ns = 0, bytes = 0, count = 0;
  };
  std::array<Entry, kPhaseNames.size()> phases{};
  std::uint64_t passes = 0;
  std::uint64_t experts_touched = 0, expert_phases = 0;  // distinct experts, summed over expert_phases layers
  std::uint64_t expert_macs = 0;                         // multiply-accumulates of kGateUp and kDown

  using Clock = std::chrono::steady_clock;
  Clock::time_point last{};
  void start() {
    last = Clock::now();
    ++passes;
  }
  void end(Phase phase, std::uint64_t bytes) {
    const Clock::time_point now = Clock::now();
    Entry& entry = phases[static_cast<std::size_t>(phase)];
    entry.ns += static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now - last).count());
    entry.bytes += bytes;
    ++entry.count;
    last = now;
  }
};

}  // namespace dodeca::runtime
