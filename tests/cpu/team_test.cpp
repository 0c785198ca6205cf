#include "cpu/team.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "cpu/seats.hpp"
#include "cpu/topology.hpp"

using namespace dodeca;
using cpu::Member;
using cpu::Team;

namespace {

std::vector<cpu::Seat> all_cores() {
  const cpu::Topology topology = cpu::read_topology();
  return cpu::choose_seats(topology, static_cast<int>(topology.cores.size()));
}

cpu_set_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

bool same_set(const cpu_set_t& a, const cpu_set_t& b) { return CPU_EQUAL(&a, &b); }

}  // namespace

TEST_CASE("part_of: parts are adjacent, whole grains, and differ by one grain at most") {
  for (const std::int64_t count : {0, 1, 5, 16, 17, 100, 1408}) {
    for (const std::int64_t grain : {1, 3, 16}) {
      for (const int n : {1, 2, 3, 7, 64}) {
        std::int64_t next = 0, smallest = count, largest = 0;
        for (int i = 0; i < n; ++i) {
          const cpu::Range range = cpu::part_of(count, grain, i, n);
          CHECK(range.begin == next);
          CHECK(range.end >= range.begin);
          CHECK((range.begin % grain == 0 || range.begin == count));
          next = range.end;
          smallest = std::min(smallest, range.end - range.begin);
          largest = std::max(largest, range.end - range.begin);
        }
        CHECK(next == count);
        CHECK(largest - smallest < 2 * grain);  // one more grain, and the last grain may be short
      }
    }
  }
}

TEST_CASE("team: every member runs once, the caller as member 0, for any size") {
  for (int n = 1; n <= 8; ++n) {
    Team team(n);
    REQUIRE(team.size() == n);
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::vector<int> seen(static_cast<std::size_t>(n), 0);
      std::thread::id zero;
      team.run([&](const Member& member) {
        CHECK_UNARY(member.size == n);
        seen[static_cast<std::size_t>(member.index)] += 1;
        if (member.index == 0) zero = std::this_thread::get_id();
      });
      for (int count : seen) CHECK(count == 1);
      CHECK(zero == std::this_thread::get_id());
    }
  }
}

TEST_CASE("team: a barrier separates phases") {
  for (const int n : {2, 3, 8, 17, 33}) {
    Team team(n);
    // Not atomic on purpose: only the barrier orders these.
    std::vector<int> cell(static_cast<std::size_t>(n), 0);
    std::atomic<int> wrong{0};
    const int n_phases = n > 8 ? 50 : 500;
    team.run([&](const Member& member) {
      const auto mine = static_cast<std::size_t>(member.index);
      const auto next = static_cast<std::size_t>((member.index + 1) % member.size);
      for (int phase = 0; phase < n_phases; ++phase) {
        cell[mine] = phase;
        member.barrier();
        if (cell[next] != phase) ++wrong;
        member.barrier();
      }
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("team: a barrier separates phases whatever the L3s of the members") {
  const int pu = all_cores()[0].pu;
  for (const std::vector<int>& l3s : {std::vector<int>{0, 0, 0, 1, 1, 2},
                                      {0, 1, 2, 3},
                                      {5, 5, 5, 5, 5, 5, 5, 5, 5, 5},
                                      {0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}}) {
    std::vector<cpu::Seat> seats;
    for (const int l3 : l3s) seats.push_back({.pu = pu, .l3 = l3});
    Team team(seats);
    std::vector<int> cell(l3s.size(), 0);  // not atomic on purpose
    std::atomic<int> wrong{0};
    team.run([&](const Member& member) {
      const auto mine = static_cast<std::size_t>(member.index);
      const auto next = static_cast<std::size_t>((member.index + 1) % member.size);
      for (int phase = 0; phase < 20; ++phase) {
        cell[mine] = phase;
        member.barrier();
        if (cell[next] != phase) ++wrong;
        member.barrier();
      }
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("team: the last to arrive works alone, after all and before anyone goes on") {
  for (const int n : {1, 2, 3, 9, 17}) {
    Team team(n);
    std::vector<int> cell(static_cast<std::size_t>(n), 0);
    int sum = 0, runs = 0;  // not atomic on purpose
    std::atomic<int> wrong{0};
    team.run([&](const Member& member) {
      for (int phase = 1; phase <= 50; ++phase) {
        cell[static_cast<std::size_t>(member.index)] = phase;
        member.barrier([&] {
          sum = 0;
          for (const int value : cell) sum += value;
          ++runs;
        });
        if (sum != n * phase || runs != phase) ++wrong;
        member.barrier();
      }
    });
    CHECK(wrong == 0);
    CHECK(runs == 50);
  }
}

TEST_CASE("team: uneven members wait for the slow one, past spinning and yielding") {
  Team team(2);
  int value = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    team.run([&](const Member& member) {
      if (member.index == repeat % 2) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        value = repeat + 1;
      }
      member.barrier();
      if (member.index != repeat % 2) CHECK_UNARY(value == repeat + 1);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // long enough for the workers to sleep
  }
}

TEST_CASE("team: a shared counter hands out everything once") {
  Team team(4);
  cpu::WorkCounter counter;
  std::vector<std::atomic<int>> taken(1000);
  team.run([&](const Member& member) {
    for (int round = 0; round < 3; ++round) {
      if (member.index == 0) counter.reset();
      member.barrier();
      for (std::int64_t i = counter.take(); i < 1000; i = counter.take()) ++taken[static_cast<std::size_t>(i)];
      member.barrier();
    }
  });
  for (const auto& count : taken) CHECK(count == 3);
}

TEST_CASE("teams of different sizes alternate on the same threads") {
  Team small(2), large(5);
  std::set<std::thread::id> threads;
  std::mutex mutex;
  for (int repeat = 0; repeat < 50; ++repeat) {
    Team& team = repeat % 2 == 0 ? small : large;
    std::atomic<int> count{0};
    team.run([&](const Member& member) {
      ++count;
      member.barrier();
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    });
    CHECK(count == team.size());
  }
  CHECK(threads.size() == 1 + 1 + 4);  // the caller and each team's own workers, never replaced
}

TEST_CASE("team: a body may run another team; the same team runs alone inside itself") {
  Team outer(2), inner_a(2), inner_b(3);
  std::atomic<int> inner_count{0}, alone{0};
  for (int repeat = 0; repeat < 10; ++repeat) {
    outer.run([&](const Member& member) {
      Team& inner = member.index == 0 ? inner_a : inner_b;
      inner.run([&](const Member& deep) {
        ++inner_count;
        deep.barrier();
        outer.run([&](const Member& again) {
          CHECK_UNARY(again.size == 1);
          again.barrier();
          ++alone;
        });
      });
      member.barrier();
    });
  }
  CHECK(inner_count == 10 * 5);
  CHECK(alone == 10 * 5);
}

TEST_CASE("team: callers on several threads take turns") {
  Team team(3);
  std::atomic<int> inside{0}, most{0}, total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        team.run([&](const Member&) {
          const int now = ++inside;
          int before = most;
          while (now > before && !most.compare_exchange_weak(before, now)) {
          }
          ++total;
          --inside;
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(total == 4 * 20 * 3);
  CHECK(most <= 3);
}

TEST_CASE("team: members are bound to their processors; the caller is free again afterwards") {
  const std::vector<cpu::Seat> seats = all_cores();
  const cpu_set_t before = affinity();
  {
    Team team(seats);
    CHECK(same_set(before, affinity()));
    std::vector<int> where(seats.size(), -1), pus;
    for (const cpu::Seat& seat : seats) pus.push_back(seat.pu);
    team.run([&](const Member& member) {
      const cpu_set_t mine = affinity();
      if (CPU_COUNT(&mine) == 1) where[static_cast<std::size_t>(member.index)] = sched_getcpu();
    });
    CHECK(where == pus);
    CHECK(same_set(before, affinity()));
  }
  CHECK(same_set(before, affinity()));
}

TEST_CASE("team: impossible sizes and processors are refused, the caller's affinity stays") {
  const cpu_set_t before = affinity();
  CHECK_THROWS_AS(Team(0), std::invalid_argument);
  CHECK_THROWS_AS(Team(-3), std::invalid_argument);
  CHECK_THROWS_AS(Team(std::vector<cpu::Seat>()), std::invalid_argument);
  CHECK_THROWS_AS(Team(std::vector<cpu::Seat>{{.pu = 100'000}}), std::system_error);
  CHECK_THROWS_AS(Team(std::vector<cpu::Seat>{all_cores()[0], {.pu = 100'000}}), std::system_error);
  CHECK(same_set(before, affinity()));
}

namespace {

// Processor time that this process takes while the caller sleeps for 200 ms.
double idle_cpu_ms() {
  timespec start{}, end{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
  return static_cast<double>(end.tv_sec - start.tv_sec) * 1e3 + static_cast<double>(end.tv_nsec - start.tv_nsec) * 1e-6;
}

}  // namespace

TEST_CASE("team: idle members sleep, stay awake when told to, and sleep when told to while they spin") {
  Team team(2);
  const auto run = [&] { team.run([](const Member& member) { member.barrier(); }); };
  run();
  CHECK(idle_cpu_ms() < 50);
  if (all_cores().size() < 2) return;  // members that share a processor never spin
  team.set_idle_spin(std::chrono::seconds(20));
  run();
  CHECK(idle_cpu_ms() > 20);  // of 200, on a machine that may have other work
  CHECK(idle_cpu_ms() > 20);
  team.set_idle_spin(Team::kIdleSpin);
  CHECK(idle_cpu_ms() < 50);
  run();
  CHECK(idle_cpu_ms() < 50);
  team.set_idle_spin(std::chrono::milliseconds(10));  // not longer than that, whoever forgets to take it back
  run();
  CHECK(idle_cpu_ms() < 100);
}

TEST_CASE("team: who is told to sleep while idle does not spin long for the others either") {
  if (all_cores().size() < 2) return;
  const cpu::Topology topology = cpu::read_topology();
  const auto waiting_cpu_ms = [&](std::chrono::microseconds idle_spin) {
    Team team(cpu::choose_seats(topology, 2));
    team.set_idle_spin(idle_spin);
    double waited = 0;
    const auto body = [&](const Member& member) {
      timespec start{}, end{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
      if (member.index == 1) std::this_thread::sleep_for(std::chrono::milliseconds(40));
      member.barrier();
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
      if (member.index == 0)
        waited = static_cast<double>(end.tv_sec - start.tv_sec) * 1e3 +
                 static_cast<double>(end.tv_nsec - start.tv_nsec) * 1e-6;
    };
    team.run(body);
    return waited;
  };
  CHECK(waiting_cpu_ms(std::chrono::microseconds(0)) < 2);
  CHECK(waiting_cpu_ms(Team::kIdleSpin) > 2);  // of 10, on a machine that may have other work
}

TEST_CASE("team: more members than processors never spin while idle") {
  Team team(static_cast<int>(all_cores().size()) * 2 + 62);
  team.set_idle_spin(std::chrono::seconds(20));
  team.run([](const Member& member) { member.barrier(); });
  CHECK(idle_cpu_ms() < 50);
}

#ifndef DODECA_STD_TEAM
// OpenMP reads its environment before main(), so each setting needs a process of its own: this test program again,
// running the hidden case below.
TEST_CASE("team: the OpenMP environment cannot make a team smaller in silence") {
  const auto run_with = [](const char* setting) {
    char self[4096] = {};
    REQUIRE(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    const std::string command =
        std::string("env ") + setting + " '" + self + "' --no-skip --test-case='team child: *' > /dev/null 2>&1";
    return WEXITSTATUS(std::system(command.c_str()));
  };
  for (const char* setting : {"OMP_NUM_THREADS=1", "OMP_DYNAMIC=true", "OMP_PROC_BIND=true", "OMP_WAIT_POLICY=passive",
                              "OMP_THREAD_LIMIT=2", "OMP_MAX_ACTIVE_LEVELS=0", "OMP_NESTED=true"}) {
    CHECK_MESSAGE(run_with(setting) == 0, setting);
  }
}

TEST_CASE("team child: four members, or an error that says why" * doctest::skip()) {
  const char* limit = std::getenv("OMP_THREAD_LIMIT");
  const char* levels = std::getenv("OMP_MAX_ACTIVE_LEVELS");
  if (limit != nullptr || levels != nullptr) {
    try {
      Team team(4);
      FAIL("no exception");
    } catch (const std::runtime_error& error) {
      CHECK(std::strstr(error.what(), "a team of 4 threads was asked for, OpenMP gives") != nullptr);
    }
    return;
  }
  Team team(4);
  std::atomic<int> count{0};
  team.run([&](const Member& member) {
    member.barrier();
    ++count;
  });
  CHECK(count == 4);
}
#endif
