#include "cpu/crews.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace {

using namespace dodeca::cpu;

// Every part has members, every member a place, members of a crew count from 0 on.
void check_places(const std::vector<CrewPlace>& places, int n_members, int n_parts) {
  REQUIRE(static_cast<int>(places.size()) == n_members);
  std::vector<int> size(static_cast<std::size_t>(n_parts), 0);
  for (std::size_t i = 0; i < places.size(); ++i) {
    const CrewPlace& p = places[i];
    CHECK(p.first_part < p.end_part);
    CHECK(p.index == (i > 0 && places[i - 1].crew == p.crew ? places[i - 1].index + 1 : 0));
    for (int part = p.first_part; part < p.end_part; ++part) ++size[static_cast<std::size_t>(part)];
  }
  for (const CrewPlace& p : places) {
    for (int part = p.first_part; part < p.end_part; ++part) CHECK(size[static_cast<std::size_t>(part)] == p.size);
  }
  CHECK(std::ranges::find(size, 0) == size.end());
}

}  // namespace

TEST_CASE("every part has members, whatever their number and that of the members") {
  for (const int n_members : {1, 2, 3, 7, 8, 64, 192}) {
    for (const int n_parts : {1, 2, 3, 4, 8, 16}) {
      const std::vector<CrewPlace> places = crew_places(n_members, n_parts);
      check_places(places, n_members, n_parts);
      int least = n_members, most = 0;
      for (const CrewPlace& p : places) {
        least = std::min(least, p.size);
        most = std::max(most, p.size);
      }
      CHECK(most - least <= 1);
    }
  }
}

TEST_CASE("members of a node work on its part") {
  const std::vector<CrewPlace> uneven = crew_places(5, 2, {0, 0, 0, 1, 1});
  check_places(uneven, 5, 2);
  CHECK(uneven[2].has(0));
  CHECK(uneven[2].size == 3);
  CHECK(uneven[3].has(1));
  CHECK(uneven[4].index == 1);
  CHECK(uneven[4].size == 2);
  // Not a node for each part: equal crews.
  CHECK(crew_places(4, 2, {0, 0, 0, 0})[2].has(1));
  CHECK(crew_places(2, 4, {0, 2})[1].first_part == 2);
  CHECK(crew_places(2, 4, {0, 2})[1].end_part == 4);
}

TEST_CASE("where other parts are in other processes, all members work on the one here") {
  Team team(3);
  const Crews& crews = team.crews(4, 2);
  CHECK(crews.n_parts() == 4);
  CHECK(crews.n_crews() == 1);
  CHECK(crews.parts_here().begin == 2);
  CHECK(crews.parts_here().end == 3);
  std::atomic<int> n_right{0};
  team.run([&](const Member& member) {
    const CrewPlace& place = crews.place(member);
    n_right += place.has(2) && !place.has(1) && !place.has(3) && place.size == 3 && place.index == member.index;
    crews.barrier(member);
  });
  CHECK(n_right == 3);
  CHECK(&team.crews(4) != &crews);
  CHECK(team.crews(4).has(3));
}

TEST_CASE("a crew waits for its own members alone") {
  for (const int n_members : {2, 4, 6}) {
    Team team(n_members);
    const Crews& crews = team.crews(2);
    CHECK(crews.n_crews() == 2);
    CHECK(&team.crews(2) == &crews);
    std::atomic<int> arrived[2] = {0, 0};
    std::atomic<bool> first_done = false;
    std::atomic<int> early = 0;
    team.run([&](const Member& member) {
      const CrewPlace& place = crews.place(member);
      for (int round = 1; round <= 200; ++round) {
        arrived[place.crew].fetch_add(1);
        crews.barrier(member);
        if (arrived[place.crew].load() < round * place.size) early.fetch_add(1);
        crews.barrier(member);
        // The second crew goes on only when the first has done all of its rounds.
        if (place.crew == 0 && round == 200) first_done = true;
        while (place.crew == 1 && !first_done) std::this_thread::yield();
      }
    });
    CHECK(early == 0);
  }
}

TEST_CASE("a body that runs its own team works on all parts") {
  Team team(4);
  const Crews& crews = team.crews(3);
  team.run([&](const Member& outer) {
    if (outer.index != 0) return;
    team.run([&](const Member& member) {
      const CrewPlace& place = crews.place(member);
      CHECK(place.first_part == 0);
      CHECK(place.end_part == 3);
      CHECK(place.size == 1);
      crews.barrier(member);
    });
  });
}

TEST_CASE("a barrier over L3s and nodes lets nobody through early, and does what is last once") {
  const std::vector<int> l3 = {0, 0, 1, 2, 2, 3, 3, 3}, node = {0, 0, 0, 1, 1, 2, 2, 2};
  const int n = static_cast<int>(l3.size());
  Barrier barrier(l3, node);
  std::atomic<int> arrived = 0, early = 0;
  int last = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 1; round <= 500; ++round) {
        arrived.fetch_add(1);
        barrier.arrive_and_wait(i, {0, 10}, {[](void* count) { ++*static_cast<int*>(count); }, &last});
        if (arrived.load() < round * n || last != round) early.fetch_add(1);
        barrier.arrive_and_wait(i, {0, 10});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(early == 0);
  CHECK(last == 500);
}
