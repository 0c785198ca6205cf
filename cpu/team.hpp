// A team of worker threads, the only user of OpenMP. A team is made once, passed as a parameter, and never global.
//
// run() wakes the team for one flat region; inside it phases are separated by barrier(). Bodies are noexcept: nothing
// may leave the region. Work is split by part(), from the member's index alone, or by a shared WorkCounter inside a
// phase; results never depend on which member did what.
//
// Members are bound to their processors; the caller, member 0, only during run(). Between runs members spin for about
// 100 us (set_idle_spin() changes that) and then sleep. run() of one team from several threads at once is taken in turn;
// a body may run another team; run() of the same team from inside its own body runs there alone, as a team of one.
// Libraries that ask OpenMP inside a body (oneDNN) are told to use one thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

#include "cpu/barrier.hpp"
#include "cpu/seats.hpp"

namespace dodeca::cpu {

class Team;
class Crews;

struct Range {
  std::int64_t begin = 0, end = 0;
};

// Part i of n equal shares of [0, count), in units of `grain`.
Range part_of(std::int64_t count, std::int64_t grain, int index, int n_parts);

// One member's view of the team inside run().
class Member {
 public:
  Member(Team& team, int index, int size) : index(index), size(size), team_(team) {}
  const int index;
  const int size;
  void barrier() const { arrive({}); }  // all members; spins, then yields, then sleeps
  // The same, but the last member to arrive runs `last` before anyone goes on: serial work between two phases without a
  // barrier of its own.
  template <class F>
  void barrier(F&& last) const {
    arrive({[](void* f) { (*static_cast<std::remove_reference_t<F>*>(f))(); }, &last});
  }
  // Another barrier than the team's, of some of its members, of which this is the index-th.
  void barrier_at(Barrier& barrier, int its_index) const;
  Range part(std::int64_t count, std::int64_t grain = 1) const { return part_of(count, grain, index, size); }

 private:
  void arrive(const Barrier::Last& last) const;
  Team& team_;
};

// Hands out chunks of [0, count) in order; reset by one member between two barriers.
struct alignas(64) WorkCounter {
  std::atomic<std::int64_t> next{0};
  std::int64_t take(std::int64_t chunk = 1) { return next.fetch_add(chunk, std::memory_order_relaxed); }
  void reset() { next.store(0, std::memory_order_relaxed); }
};

struct ThreadsRefused : std::system_error {
  ThreadsRefused(std::error_code code, int n_wanted, int n_given)
      : std::system_error(code, std::to_string(n_wanted) + " threads were wanted and the system let " +
                                    std::to_string(n_given) + " start"),
        wanted(n_wanted),
        given(n_given) {}
  int wanted, given;  // members, the calling thread included
};

class Team {
 public:
  // n members that run where the system puts them. Throws std::invalid_argument for n < 1, ThreadsRefused when the system
  // does not let so many threads start, std::runtime_error when OpenMP gives fewer threads than asked
  // (OMP_THREAD_LIMIT).
  explicit Team(int n);
  // A member bound to each seat's hardware thread; std::system_error when binding fails.
  explicit Team(const std::vector<Seat>& seats);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  const std::vector<Seat>& seats() const;  // of each member; none: they are not bound
  // The members divided among so many parts, or all at the part `here` (cpu/crews.hpp); made once.
  const Crews& crews(int n_parts, int here = -1);
  // Runs body(member) on every member, the caller being member 0; returns when all are done.
  void run(const std::function<void(const Member&)>& body);

  // About how long members spin for the next run() before they sleep; also for those that wait now. Waking a sleeping
  // member takes tens of microseconds, a spinning one keeps its processor from others. 0: in run() too they spin for
  // each other for 50 us at most, where processors may not be theirs alone. Without effect, as nobody spins, where there
  // are more members than processors.
  void set_idle_spin(std::chrono::microseconds time);
  std::chrono::microseconds idle_spin() const;
  static constexpr std::chrono::microseconds kIdleSpin{100};

 private:
  friend class Member;
  struct Impl;
  int size_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dodeca::cpu
