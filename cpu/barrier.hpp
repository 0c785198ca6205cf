// A reusable barrier of n threads in two levels: groups of neighbours, then one arrival per group. The last to arrive
// releases every group through that group's own cache line. Waiting spins with pause, then yields, then sleeps on a
// futex (std::atomic::wait), so that more threads than processors, or a neighbour's load, cost time slices and not
// minutes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace dodeca::cpu {

// How long a waiter keeps its processor. Idle members of a team must not burn it; members between two phases should not
// sleep.
struct Patience {
  std::int64_t spin_ns, yield_ns;
};

class Barrier {
 public:
  explicit Barrier(int n);
  void arrive_and_wait(int index, const Patience& patience);

 private:
  // Neighbours in the team's order mostly share an L3.
  static constexpr int kGroup = 8;
  struct alignas(64) Group {
    std::atomic<int> missing{0};
    int size = 0;
    alignas(64) std::atomic<std::uint32_t> epoch{0};
  };

  const int n_groups_;
  std::unique_ptr<Group[]> groups_;
  alignas(64) std::atomic<int> missing_groups_;
};

}  // namespace dodeca::cpu
