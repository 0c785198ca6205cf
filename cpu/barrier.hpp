// A reusable barrier of n threads in levels: groups of an L3, then the groups of a memory node, then the nodes of the
// machine. The last to arrive releases every group through that group's own cache line. Waiting spins with pause, then
// yields, then sleeps on a futex, so that more threads than processors, or a neighbour's load, cost time slices and not
// minutes.
//
// Not std::barrier, nor std::atomic::wait: both give the processor away after a few dozen pauses, and between two
// phases of a token a waiter must not.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace dodeca::cpu {

// How long a waiter keeps its processor. Counted in rounds, not read from a clock: time in which the waiter did not run
// should not send it to sleep.
struct Patience {
  std::int64_t pauses, yields;
  // Read in every round instead of `pauses`, where there is one: what changes it reaches waiters that spin already.
  const std::atomic<std::int64_t>* changing_pauses = nullptr;
};
// Pauses that take about `ns` on this processor (one is 10 to 140 cycles).
std::int64_t pauses_in(std::int64_t ns);

class Barrier {
 public:
  // What the last to arrive does before anyone goes on: it sees what all others wrote, and they see what it writes.
  struct Last {
    void (*run)(void* data);  // null: nothing
    void* data;
  };
  // domains[i] is where thread i runs (an L3): neighbours of one domain make a group, as handing a cache line over is
  // cheap among them. nodes[i]: its memory node, ascending; none: all are on one. The size is the number of threads.
  explicit Barrier(const std::vector<int>& domains, const std::vector<int>& nodes = {});
  void arrive_and_wait(int index, const Patience& patience, const Last& last = {});

 private:
  // Members arrive one after the other on a group's line, groups on the common one: larger groups would not pay.
  static constexpr int kMostInGroup = 8;
  struct alignas(64) Group {
    std::atomic<int> missing{0};
    int size = 0;
    int node = 0;
    alignas(64) std::atomic<std::uint32_t> epoch{0};
    std::atomic<int> sleepers{0};
  };
  struct alignas(64) Node {
    std::atomic<int> missing_groups{0};
    int n_groups = 0;
  };
  static void wait_past(Group& group, std::uint32_t old, const Patience& patience);

  std::vector<int> group_of_;  // [n]
  int n_groups_ = 0, n_nodes_ = 0;
  std::unique_ptr<Group[]> groups_;
  std::unique_ptr<Node[]> nodes_;
  alignas(64) std::atomic<int> missing_nodes_{0};
};

}  // namespace dodeca::cpu
