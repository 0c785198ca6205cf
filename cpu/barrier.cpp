#include "cpu/barrier.hpp"

#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>

namespace dodeca::cpu {
namespace {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "a futex is a plain 32-bit word");

// Returns at once when the word is no longer `old`; may also return for no reason.
void futex_sleep(std::atomic<std::uint32_t>& word, std::uint32_t old) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
}
void futex_wake_all(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

std::int64_t pauses_in(std::int64_t ns) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kRounds = 256;
  std::int64_t fastest = INT64_MAX;  // of several, as one may have been interrupted
  for (int attempt = 0; attempt < 4; ++attempt) {
    const Clock::time_point start = Clock::now();
    for (std::int64_t i = 0; i < kRounds; ++i) _mm_pause();
    const std::int64_t taken = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
    fastest = std::min(fastest, std::max<std::int64_t>(taken, 1));
  }
  return ns * kRounds / fastest;
}

Barrier::Barrier(const std::vector<int>& domains, const std::vector<int>& nodes) {
  std::vector<int> sizes, node_of;  // of the groups
  for (std::size_t i = 0; i < domains.size(); ++i) {
    const bool new_node = !nodes.empty() && (i == 0 || nodes[i] != nodes[i - 1]);
    if (i == 0 || new_node) ++n_nodes_;
    if (i == 0 || new_node || domains[i] != domains[i - 1] || sizes.back() == kMostInGroup) {
      sizes.push_back(0);
      node_of.push_back(n_nodes_ - 1);
    }
    ++sizes.back();
    group_of_.push_back(static_cast<int>(sizes.size()) - 1);
  }
  n_groups_ = static_cast<int>(sizes.size());
  groups_.reset(new Group[sizes.size()]);
  nodes_.reset(new Node[static_cast<std::size_t>(n_nodes_)]);
  for (int g = 0; g < n_groups_; ++g) {
    groups_[g].size = sizes[static_cast<std::size_t>(g)];
    groups_[g].node = node_of[static_cast<std::size_t>(g)];
    groups_[g].missing.store(groups_[g].size, std::memory_order_relaxed);
    ++nodes_[groups_[g].node].n_groups;
  }
  for (int n = 0; n < n_nodes_; ++n) nodes_[n].missing_groups.store(nodes_[n].n_groups, std::memory_order_relaxed);
  missing_nodes_.store(n_nodes_, std::memory_order_relaxed);
}

void Barrier::wait_past(Group& group, std::uint32_t old, const Patience& patience) {
  const auto pauses = [&] {
    return patience.changing_pauses == nullptr ? patience.pauses
                                               : patience.changing_pauses->load(std::memory_order_relaxed);
  };
  for (std::int64_t i = 0; i < pauses(); ++i) {
    if (group.epoch.load(std::memory_order_acquire) != old) return;
    _mm_pause();
  }
  for (std::int64_t i = 0; i < patience.yields; ++i) {
    if (group.epoch.load(std::memory_order_acquire) != old) return;
    sched_yield();
  }
  // Sequentially consistent on both sides: either the releaser sees a sleeper, or the sleeper sees the new epoch.
  group.sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (group.epoch.load(std::memory_order_seq_cst) == old) futex_sleep(group.epoch, old);
  group.sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void Barrier::arrive_and_wait(int index, const Patience& patience, const Last& last) {
  Group& group = groups_[group_of_[static_cast<std::size_t>(index)]];
  // Cannot advance before this thread arrives.
  const std::uint32_t old = group.epoch.load(std::memory_order_relaxed);
  if (group.missing.fetch_sub(1, std::memory_order_acq_rel) != 1) return wait_past(group, old, patience);
  // The counters are set again before anyone is released, so no one can meet them half reset.
  group.missing.store(group.size, std::memory_order_relaxed);
  Node& node = nodes_[group.node];
  if (node.missing_groups.fetch_sub(1, std::memory_order_acq_rel) != 1) return wait_past(group, old, patience);
  node.missing_groups.store(node.n_groups, std::memory_order_relaxed);
  if (n_nodes_ > 1) {
    if (missing_nodes_.fetch_sub(1, std::memory_order_acq_rel) != 1) return wait_past(group, old, patience);
    missing_nodes_.store(n_nodes_, std::memory_order_relaxed);
  }
  if (last.run != nullptr) last.run(last.data);
  for (int g = 0; g < n_groups_; ++g) {
    groups_[g].epoch.store(old + 1, std::memory_order_seq_cst);
    if (groups_[g].sleepers.load(std::memory_order_seq_cst) > 0) futex_wake_all(groups_[g].epoch);
  }
}

}  // namespace dodeca::cpu
