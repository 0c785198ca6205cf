// Why the region is entered once and kept, instead of one `omp parallel` per run(): libgomp ends the surplus threads
// whenever a smaller team follows a larger one (prompt and generation alternate), and how long its idle threads spin is
// decided by the environment before main(). Here a helper thread enters one region per team, and its members loop on
// the team's own barrier. Two threads, one Sapphire Rapids VM, best of 200: entry and exit 0.8 us (2.3 us bound, as the
// caller is bound and freed by system calls) against 0.8 us of libgomp; a barrier 0.24 us against 0.32 us.
#include "cpu/team.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <future>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "cpu/barrier.hpp"
#include "cpu/crews.hpp"

#ifndef DODECA_STD_TEAM
#include <omp.h>
#endif

namespace dodeca::cpu {
namespace {

// Which teams the current thread is working for, innermost first; the chain crosses threads with the job.
struct Frame {
  const void* team;
  const Frame* outer;
};
thread_local const Frame* t_frame = nullptr;

// A set of processors, as large as Linux has them (8192).
class CpuSet {
 public:
  static CpuSet of_pu(int pu) {
    CpuSet set;
    if (pu >= 0 && pu < kProcessors) set.words_[static_cast<std::size_t>(pu / kBits)] = 1UL << (pu % kBits);
    return set;  // empty for a number that cannot be: binding to it fails
  }
  // The calling thread's affinity; empty when the system does not tell.
  static CpuSet of_this_thread() {
    CpuSet set;
    if (sched_getaffinity(0, sizeof set.words_, reinterpret_cast<cpu_set_t*>(set.words_.data())) != 0) set = CpuSet();
    return set;
  }
  int count() const {
    int n = 0;
    for (const unsigned long word : words_) n += std::popcount(word);
    return n;
  }
  bool bind_this_thread() const {
    return sched_setaffinity(0, sizeof words_, reinterpret_cast<const cpu_set_t*>(words_.data())) == 0;
  }
  bool operator==(const CpuSet&) const = default;

 private:
  static constexpr int kProcessors = 8192, kBits = std::numeric_limits<unsigned long>::digits;
  std::array<unsigned long, kProcessors / kBits> words_{};
};

// Binds the calling thread for a scope. Failing is no error here: the constructor has shown that binding works, and a
// cpuset changed since then leaves the thread where it may run.
class ScopedBinding {
 public:
  ScopedBinding() = default;
  explicit ScopedBinding(const CpuSet* target) {
    if (target == nullptr) return;
    before_ = CpuSet::of_this_thread();
    bound_ = before_ != CpuSet() && before_ != *target && target->bind_this_thread();
  }
  ~ScopedBinding() {
    if (bound_) before_.bind_this_thread();
  }
  ScopedBinding(const ScopedBinding&) = delete;
  ScopedBinding& operator=(const ScopedBinding&) = delete;

 private:
  CpuSet before_;
  bool bound_ = false;
};

// OpenMP ends the process when the system refuses it a thread, so the same number is started and ended before.
void require_threads(int n_members) {
  std::vector<std::thread> threads;
  std::promise<void> end;
  const std::shared_future<void> ended = end.get_future().share();
  std::optional<ThreadsRefused> refused;
  try {
    for (int i = 1; i < n_members; ++i) threads.emplace_back([ended] { ended.wait(); });
  } catch (const std::system_error& error) {
    refused.emplace(error.code(), n_members, 1 + static_cast<int>(threads.size()));
  }
  end.set_value();
  for (std::thread& thread : threads) thread.join();
  if (refused) throw *refused;
}

// Where each member runs, as the barrier takes it; unbound members are all of one domain.
std::vector<int> domains_of(int n, const std::vector<Seat>& seats, int Seat::*domain) {
  std::vector<int> domains(static_cast<std::size_t>(n), 0);
  std::transform(seats.begin(), seats.end(), domains.begin(), [&](const Seat& seat) { return seat.*domain; });
  return domains;
}

// Tells OpenMP users inside a body to stay on this thread.
class OneOpenMpThread {
 public:
#ifdef DODECA_STD_TEAM
  OneOpenMpThread() {}
#else
  OneOpenMpThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOpenMpThread() { omp_set_num_threads(before_); }

 private:
  int before_;
#endif
};

}  // namespace

struct Team::Impl {
  Impl(Team& team, int n, const std::vector<Seat>& seats);  // seats: n or none
  ~Impl();
  void start();
  void run(const std::function<void(const Member&)>& body);
  void set_idle_spin(std::chrono::microseconds time) {
    if (idle_spin_.load() == time) return;  // leaves the cache line to its readers
    idle_spin_ = time;
    idle_pauses_ = pauses_per_ms_ * time.count() / 1000;
    busy_pauses_ = time.count() > 0 ? most_busy_pauses_ : std::min(most_busy_pauses_, pauses_per_ms_ / 20);
  }
  std::chrono::microseconds idle_spin() const { return idle_spin_.load(); }

 private:
  friend class Member;
  friend class Team;
  int start_threads();  // how many members the threads make, this one included
  void worker(int index) noexcept;
  void work(int index) noexcept;
  bool is_inside() const;

  Team& team_;
  const int n_;
  std::atomic<std::chrono::microseconds> idle_spin_{};
  const std::vector<Seat> seats_;  // [n_], or none
  std::vector<CpuSet> bindings_;   // [n_], or none
  std::vector<int> errors_;        // [n_], of binding
  std::int64_t most_busy_pauses_ = 0;
  std::int64_t pauses_per_ms_ = 0;  // 0: members that have nothing to do sleep at once
  alignas(64) std::atomic<std::int64_t> idle_pauses_{0};
  std::atomic<std::int64_t> busy_pauses_{0};
  Patience busy_{0, 0, &busy_pauses_};
  const Patience idle_{0, 0, &idle_pauses_};
  Barrier barrier_;
  std::mutex turn_;
  std::mutex crews_mutex_;
  std::map<std::pair<int, int>, std::unique_ptr<Crews>> crews_;  // by the number of parts, and the one here
  bool running_ = false;
  // Written by member 0 before the barrier that starts a job, read by the others after it.
  const std::function<void(const Member&)>* body_ = nullptr;
  const Frame* caller_ = nullptr;
  bool stop_ = false;
  std::vector<std::thread> threads_;  // the one that enters the region, or all workers
};

Team::Impl::Impl(Team& team, int n, const std::vector<Seat>& seats)
    : team_(team),
      n_(n),
      seats_(seats),
      errors_(static_cast<std::size_t>(n)),
      barrier_(domains_of(n, seats, &Seat::l3), domains_of(n, seats, &Seat::node)) {
  std::vector<int> pus;
  for (const Seat& seat : seats_) {
    bindings_.push_back(CpuSet::of_pu(seat.pu));
    pus.push_back(seat.pu);
  }
  std::sort(pus.begin(), pus.end());
  pus.erase(std::unique(pus.begin(), pus.end()), pus.end());
  const int n_cpus = seats_.empty() ? CpuSet::of_this_thread().count() : static_cast<int>(pus.size());
  const std::int64_t ms = pauses_in(1'000'000);
  if (n > n_cpus) {  // members share processors: one that spins keeps another from working
    busy_.yields = 100;
  } else if (seats_.empty()) {  // the scheduler may put two members on one processor for a while
    most_busy_pauses_ = pauses_per_ms_ = ms;
    busy_.yields = 100;
  } else {  // each has its own: giving it away would only help strangers
    most_busy_pauses_ = 10 * ms;
    pauses_per_ms_ = ms;
  }
  set_idle_spin(kIdleSpin);
}

Team::Impl::~Impl() {
  if (running_) {
    stop_ = true;
    barrier_.arrive_and_wait(0, busy_);
  }
  for (std::thread& thread : threads_) thread.join();
}

void Team::Impl::start() {
  if (!bindings_.empty()) {
    const CpuSet before = CpuSet::of_this_thread();
    errors_[0] = bindings_[0].bind_this_thread() ? 0 : errno;
    before.bind_this_thread();
  }
  if (n_ > 1) {
    require_threads(n_);
    const int n_members = start_threads();
    if (n_members != n_) {
      throw std::runtime_error("a team of " + std::to_string(n_) + " threads was asked for, OpenMP gives " +
                               std::to_string(n_members) + " (see OMP_THREAD_LIMIT, OMP_MAX_ACTIVE_LEVELS)");
    }
    running_ = true;
    barrier_.arrive_and_wait(0, busy_);  // errors_ are complete
  }
  for (std::size_t i = 0; i < errors_.size(); ++i) {
    if (errors_[i] == 0) continue;
    throw std::system_error(errors_[i], std::generic_category(),
                            "cannot bind a thread to processor " + std::to_string(seats_[i].pu));
  }
}

#ifdef DODECA_STD_TEAM

int Team::Impl::start_threads() {
  for (int i = 1; i < n_; ++i) threads_.emplace_back([this, i] { worker(i); });
  return n_;
}

#else

int Team::Impl::start_threads() {
  std::promise<int> n_given;
  std::future<int> given = n_given.get_future();
  threads_.emplace_back([this, &n_given] {
    const int n_workers = n_ - 1;
    omp_set_dynamic(0);  // this thread's own setting
#pragma omp parallel num_threads(n_workers)
    {
      const int n_threads = omp_get_num_threads();
#pragma omp single
      n_given.set_value(n_threads);
      if (n_threads == n_workers) worker(1 + omp_get_thread_num());
    }
  });
  return 1 + given.get();
}

#endif

void Team::Impl::worker(int index) noexcept {
  const auto i = static_cast<std::size_t>(index);
  if (!bindings_.empty() && !bindings_[i].bind_this_thread()) errors_[i] = errno;
  barrier_.arrive_and_wait(index, idle_);
  const OneOpenMpThread one;
  while (true) {
    barrier_.arrive_and_wait(index, idle_);
    if (stop_) return;
    work(index);
    barrier_.arrive_and_wait(index, busy_);
  }
}

void Team::Impl::work(int index) noexcept {
  const Frame frame{this, caller_};
  const Frame* const outer = std::exchange(t_frame, &frame);
  (*body_)(Member(team_, index, n_));
  t_frame = outer;
}

bool Team::Impl::is_inside() const {
  for (const Frame* frame = t_frame; frame != nullptr; frame = frame->outer) {
    if (frame->team == this) return true;
  }
  return false;
}

void Team::Impl::run(const std::function<void(const Member&)>& body) {
  if (is_inside()) {
    [&]() noexcept { body(Member(team_, 0, 1)); }();
    return;
  }
  const std::lock_guard lock(turn_);
  const ScopedBinding bound(bindings_.empty() ? nullptr : &bindings_[0]);
  const OneOpenMpThread one;
  body_ = &body;
  caller_ = t_frame;
  if (n_ > 1) barrier_.arrive_and_wait(0, busy_);
  work(0);
  if (n_ > 1) barrier_.arrive_and_wait(0, busy_);
}

Team::Team(int n) : size_(n) {
  if (n < 1) throw std::invalid_argument("a team needs at least 1 thread, not " + std::to_string(n));
  impl_ = std::make_unique<Impl>(*this, n, std::vector<Seat>());
  impl_->start();
}

Team::Team(const std::vector<Seat>& seats) : size_(static_cast<int>(seats.size())) {
  if (seats.empty()) throw std::invalid_argument("a team needs at least 1 seat");
  impl_ = std::make_unique<Impl>(*this, size_, seats);
  impl_->start();
}

Team::~Team() = default;

const std::vector<Seat>& Team::seats() const { return impl_->seats_; }

const Crews& Team::crews(int n_parts, int here) {
  const std::lock_guard lock(impl_->crews_mutex_);
  std::unique_ptr<Crews>& crews = impl_->crews_[{n_parts, here}];
  if (crews == nullptr) crews = std::make_unique<Crews>(*this, n_parts, here);
  return *crews;
}

void Team::run(const std::function<void(const Member&)>& body) { impl_->run(body); }
void Team::set_idle_spin(std::chrono::microseconds time) { impl_->set_idle_spin(time); }
std::chrono::microseconds Team::idle_spin() const { return impl_->idle_spin(); }

void Member::arrive(const Barrier::Last& last) const {
  if (size > 1)
    team_.impl_->barrier_.arrive_and_wait(index, team_.impl_->busy_, last);
  else if (last.run != nullptr)
    last.run(last.data);
}

void Member::barrier_at(Barrier& barrier, int its_index) const {
  barrier.arrive_and_wait(its_index, team_.impl_->busy_);
}

Range part_of(std::int64_t count, std::int64_t grain, int index, int n_parts) {
  const std::int64_t units = (count + grain - 1) / grain;
  const std::int64_t share = units / n_parts, extra = units % n_parts;
  const std::int64_t begin = index * share + std::min<std::int64_t>(index, extra);
  const std::int64_t end = begin + share + (index < extra ? 1 : 0);
  return {std::min(begin * grain, count), std::min(end * grain, count)};
}

}  // namespace dodeca::cpu
