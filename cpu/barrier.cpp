#include "cpu/barrier.hpp"

#include <immintrin.h>
#include <sched.h>

#include <algorithm>
#include <chrono>

namespace dodeca::cpu {
namespace {

void wait_past(const std::atomic<std::uint32_t>& epoch, std::uint32_t old, const Patience& patience) {
  using Clock = std::chrono::steady_clock;
  // Most waits end here, before the clock is read for the first time. One pause is 10 to 140 cycles.
  for (int i = 0; i < 64; ++i) {
    if (epoch.load(std::memory_order_acquire) != old) return;
    _mm_pause();
  }
  const Clock::time_point start = Clock::now();
  const Clock::time_point spin_end = start + std::chrono::nanoseconds(patience.spin_ns);
  const Clock::time_point yield_end = spin_end + std::chrono::nanoseconds(patience.yield_ns);
  while (true) {
    for (int i = 0; i < 16; ++i) {
      if (epoch.load(std::memory_order_acquire) != old) return;
      _mm_pause();
    }
    const Clock::time_point now = Clock::now();
    if (now >= yield_end) break;
    if (now >= spin_end) sched_yield();
  }
  epoch.wait(old, std::memory_order_acquire);
}

}  // namespace

Barrier::Barrier(int n)
    : n_groups_((n + kGroup - 1) / kGroup),
      groups_(new Group[static_cast<std::size_t>(n_groups_)]),
      missing_groups_(n_groups_) {
  for (int g = 0; g < n_groups_; ++g) {
    groups_[g].size = std::min(kGroup, n - g * kGroup);
    groups_[g].missing.store(groups_[g].size, std::memory_order_relaxed);
  }
}

void Barrier::arrive_and_wait(int index, const Patience& patience) {
  Group& group = groups_[index / kGroup];
  // Cannot advance before this thread arrives.
  const std::uint32_t old = group.epoch.load(std::memory_order_relaxed);
  if (group.missing.fetch_sub(1, std::memory_order_acq_rel) != 1) return wait_past(group.epoch, old, patience);
  // The counters are set again before anyone is released, so no one can meet them half reset.
  group.missing.store(group.size, std::memory_order_relaxed);
  if (missing_groups_.fetch_sub(1, std::memory_order_acq_rel) != 1) return wait_past(group.epoch, old, patience);
  missing_groups_.store(n_groups_, std::memory_order_relaxed);
  for (int g = 0; g < n_groups_; ++g) {
    groups_[g].epoch.store(old + 1,
                           std::memory_order_seq_cst);  // seq_cst: not to be overtaken by notify's look for sleepers
    groups_[g].epoch.notify_all();
  }
}

}  // namespace dodeca::cpu
