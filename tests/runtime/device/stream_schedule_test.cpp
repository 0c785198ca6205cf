// Which experts stream to a device, and that no order in which copies and products end can spoil a buffer.
#include "runtime/device/stream_schedule.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <set>
#include <string>

#include "tests/support/random_values.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime::device;

constexpr StreamShape kShape{.n_buffers = 2, .wave_experts = 4};
constexpr StreamRates kRates{
    .copied_expert = 6, .device_expert = 0.5, .device_row = 0.01, .host_expert = 1, .host_row = 0.4};

std::vector<std::int32_t> some_rows(std::size_t n_experts, unsigned seed) {
  std::vector<std::int32_t> rows;
  for (const float value : tests::random_values(n_experts, seed))
    rows.push_back(std::max(0, static_cast<std::int32_t>(40 * value)));
  return rows;
}

double host_seconds(std::span<const std::int32_t> rows, const std::set<std::int32_t>& elsewhere) {
  double seconds = 0;
  for (std::size_t e = 0; e < rows.size(); ++e)
    if (rows[e] > 0 && !elsewhere.contains(static_cast<std::int32_t>(e)))
      seconds += kRates.host_expert + kRates.host_row * rows[e];
  return seconds;
}

// Waves of four, one copied after the other, each multiplied when it is there and the one before is done.
double device_seconds(std::span<const std::int32_t> rows, std::span<const std::int32_t> experts) {
  double copied = 0, done = 0;
  for (std::size_t first = 0; first < experts.size(); first += 4) {
    const auto wave = experts.subspan(first, std::min<std::size_t>(4, experts.size() - first));
    copied += kRates.copied_expert * static_cast<double>(wave.size());
    done = std::max(done, copied);
    for (const std::int32_t e : wave)
      done += kRates.device_expert + kRates.device_row * rows[static_cast<std::size_t>(e)];
  }
  return done;
}

// All orders in which the steps of a schedule can begin and end, each actor's in their order, each step behind those that
// it waits for. `n_buffers`: what lies in them is followed.
class Orders {
 public:
  Orders(std::span<const StreamStep> steps, int n_buffers)
      : steps_(steps), holds_(static_cast<std::size_t>(n_buffers), -1) {
    for (std::size_t i = 0; i < steps.size(); ++i) own_[static_cast<std::size_t>(steps[i].actor)].push_back(i);
    ended_.assign(steps.size(), false);
  }

  // What can go wrong; empty: nothing.
  std::string run() {
    visit();
    return wrong_;
  }
  std::size_t n_states() const { return seen_.size(); }

 private:
  using State = std::pair<std::array<std::size_t, 2 * kStreamActors>, std::vector<std::int64_t>>;

  // The step that an actor works on, or null.
  const StreamStep* running(std::size_t actor) const {
    return begun_[actor] > done_[actor] ? &steps_[own_[actor][done_[actor]]] : nullptr;
  }
  bool may_begin(std::size_t actor) const {
    if (running(actor) != nullptr || begun_[actor] == own_[actor].size()) return false;
    return std::ranges::all_of(steps_[own_[actor][begun_[actor]]].after, [&](std::size_t i) { return ended_[i]; });
  }
  void fail(std::string what) {
    if (wrong_.empty()) wrong_ = std::move(what);
  }

  void visit() {
    State state;
    for (std::size_t a = 0; a < kStreamActors; ++a) {
      state.first[2 * a] = begun_[a];
      state.first[2 * a + 1] = done_[a];
    }
    state.second = holds_;
    if (!wrong_.empty() || !seen_.insert(state).second) return;
    bool moved = false;
    for (std::size_t a = 0; a < kStreamActors; ++a) {
      if (may_begin(a)) {
        moved = true;
        const std::vector<std::int64_t> before = holds_;
        ++begun_[a];
        check_begin(*running(a));
        visit();
        --begun_[a];
        holds_ = before;
      } else if (const StreamStep* step = running(a)) {
        moved = true;
        const std::size_t index = own_[a][done_[a]];
        const std::vector<std::int64_t> before = holds_;
        if (step->work == StreamWork::kCopy) holds_[static_cast<std::size_t>(step->buffer)] = step->wave;
        ended_[index] = true;
        ++done_[a];
        visit();
        --done_[a];
        ended_[index] = false;
        holds_ = before;
      }
    }
    for (std::size_t a = 0; !moved && a < kStreamActors; ++a)
      if (done_[a] < own_[a].size()) fail("nobody can go on");
  }

  void check_begin(const StreamStep& step) {
    const StreamStep *copy = running(static_cast<std::size_t>(StreamActor::kLink)),
                     *device = running(static_cast<std::size_t>(StreamActor::kDevice));
    if (step.work == StreamWork::kMultiply && holds_[static_cast<std::size_t>(step.buffer)] != step.wave)
      fail("a wave is multiplied that is not there");
    if (step.work == StreamWork::kCopy) holds_[static_cast<std::size_t>(step.buffer)] = -1;
    if (copy != nullptr && device != nullptr && copy->work == StreamWork::kCopy &&
        device->work == StreamWork::kMultiply && copy->buffer == device->buffer)
      fail("a wave is copied over one that is being multiplied");
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const StreamStep& other = steps_[i];
      if (other.layer != step.layer || ended_[i]) continue;
      if (step.work == StreamWork::kExperts && other.work == StreamWork::kRoute) fail("experts before routing");
      if (step.work == StreamWork::kMultiply && other.work == StreamWork::kRoute) fail("products before routing");
      if (step.work == StreamWork::kMerge &&
          (other.work == StreamWork::kExperts || other.work == StreamWork::kMultiply))
        fail("merged before the experts");
    }
  }

  std::span<const StreamStep> steps_;
  std::array<std::vector<std::size_t>, kStreamActors> own_;
  std::array<std::size_t, kStreamActors> begun_ = {}, done_ = {};
  std::vector<bool> ended_;
  std::vector<std::int64_t> holds_;  // the wave in each buffer, -1: none whole
  std::set<State> seen_;
  std::string wrong_;
};

// Layers with some waves of their own, of which so many are copied before the layer.
StreamSchedule schedule_of(int n_buffers, std::span<const std::int64_t> n_waves, std::int64_t n_ahead) {
  StreamSchedule schedule(n_buffers);
  for (std::size_t layer = 0; layer < n_waves.size(); ++layer) {
    if (layer == 0) schedule.prefetch(0, std::min(n_ahead, n_waves[0]));
    schedule.add_layer(static_cast<std::int64_t>(layer), n_waves[layer]);
    if (layer + 1 < n_waves.size())
      schedule.prefetch(static_cast<std::int64_t>(layer + 1), std::min(n_ahead, n_waves[layer + 1]));
  }
  return schedule;
}

}  // namespace

TEST_CASE("experts are divided so that no other number of them ends earlier, and each is one side's") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    const std::vector<std::int32_t> rows = some_rows(3 + seed, seed);
    const Division division = divide_experts(rows, kShape, kRates);
    std::set<std::int32_t> streamed;
    std::int32_t least = 1 << 30;
    for (const Wave& wave : division.waves) {
      REQUIRE(wave.experts.size() == wave.n_rows.size());
      CHECK(wave.experts.size() <= 4);
      for (std::size_t i = 0; i < wave.experts.size(); ++i) {
        CHECK(streamed.insert(wave.experts[i]).second);
        CHECK(wave.n_rows[i] == rows[static_cast<std::size_t>(wave.experts[i])]);
        CHECK(wave.n_rows[i] > 0);
        CHECK(wave.n_rows[i] <= least);
      }
      CHECK(std::ranges::is_sorted(wave.experts));
      least = *std::ranges::min_element(wave.n_rows);
    }
    for (std::size_t e = 0; e < rows.size(); ++e)
      if (!streamed.contains(static_cast<std::int32_t>(e))) CHECK(rows[e] <= least);
    CHECK(division.host_seconds == doctest::Approx(host_seconds(rows, streamed)));
    // Any other number of the experts with the most rows.
    std::vector<std::int32_t> order(rows.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) {
      return rows[static_cast<std::size_t>(a)] > rows[static_cast<std::size_t>(b)];
    });
    std::erase_if(order, [&](std::int32_t e) { return rows[static_cast<std::size_t>(e)] == 0; });
    const double got = std::max(division.device_seconds, division.host_seconds);
    for (std::size_t n = 0; n <= order.size(); ++n) {
      const std::span first(order.begin(), n);
      CHECK(got <= std::max(device_seconds(rows, first), host_seconds(rows, {first.begin(), first.end()})) + 1e-9);
    }
  }
}

TEST_CASE("experts that were copied before their rows are known stay on the device") {
  const std::vector<std::int32_t> rows = {0, 50, 3, 9, 20, 0, 1};
  const std::vector<std::vector<std::int32_t>> prefetched = {{0, 2}, {6}};
  const Division division = divide_experts(rows, kShape, kRates, {.waves = prefetched, .seconds = 5});
  REQUIRE(division.waves.size() >= 2);
  CHECK(division.waves[0].experts == prefetched[0]);
  CHECK(division.waves[0].n_rows == std::vector<std::int32_t>{0, 3});
  CHECK(division.waves[1].experts == prefetched[1]);
  std::set<std::int32_t> streamed = {0, 2, 6};
  for (std::size_t w = 2; w < division.waves.size(); ++w)
    for (const std::int32_t expert : division.waves[w].experts) CHECK(streamed.insert(expert).second);
  CHECK(streamed.contains(1));  // 50 rows take the host longer than the copy
  CHECK(division.host_seconds == doctest::Approx(host_seconds(rows, streamed)));
  // What the link had no time for before, it has to copy now.
  const std::vector<std::int32_t> none(7, 0);
  const auto seconds = [&](double before) {
    return divide_experts(none, kShape, kRates, {.waves = prefetched, .seconds = before}).device_seconds;
  };
  CHECK(seconds(0) == doctest::Approx(3 * kRates.copied_expert));
  CHECK(seconds(5) == doctest::Approx(3 * kRates.copied_expert - 5));
  CHECK(seconds(100) == 0);
}

TEST_CASE(
    "the fewest rows with which streaming gains: fewer with a faster link, more with faster processors, or never") {
  const auto rows = [](StreamRates rates) { return least_streamed_rows(256, 8, 8192, kShape, rates, 0.1); };
  StreamRates rates{
      .copied_expert = 600e-6, .device_expert = 20e-6, .device_row = 1e-6, .host_expert = 50e-6, .host_row = 20e-6};
  const std::int64_t some = rows(rates);
  CHECK(some > 1);
  CHECK(some < 8192);
  StreamRates faster_link = rates, faster_host = rates, slow_link = rates;
  faster_link.copied_expert /= 4;
  faster_host.host_row /= 4;
  slow_link.copied_expert = 1;
  CHECK(rows(faster_link) < some);
  CHECK(rows(faster_host) > some);
  CHECK(rows(slow_link) == -1);
  CHECK(least_streamed_rows(256, 8, 8192, {}, rates, 0.1) == -1);
}

TEST_CASE(
    "three layers and two buffers: in every order in which things can end, no buffer is spoilt and all comes to an "
    "end") {
  for (const std::int64_t n_ahead : {0, 1, 2}) {
    for (const std::vector<std::int64_t>& n_waves :
         {std::vector<std::int64_t>{3, 1, 4}, {0, 2, 0}, {5, 5, 5}, {1, 0, 3}}) {
      CAPTURE(n_ahead);
      const StreamSchedule schedule = schedule_of(2, n_waves, n_ahead);
      Orders orders(schedule.steps(), 2);
      CHECK(orders.run() == "");
      CHECK(orders.n_states() > 3 * schedule.steps().size());
      CHECK(std::ranges::count(schedule.steps(), StreamWork::kCopy, &StreamStep::work) ==
            std::accumulate(n_waves.begin(), n_waves.end(), std::int64_t{0}));
    }
  }
  const std::vector<std::int64_t> more = {4, 3, 6};
  CHECK(Orders(schedule_of(3, more, 3).steps(), 3).run() == "");
}

TEST_CASE("a schedule that forgets to wait is found") {
  const StreamSchedule schedule = schedule_of(2, std::vector<std::int64_t>{3, 2, 3}, 1);
  int n_found = 0, n_waits = 0;
  for (std::size_t i = 0; i < schedule.steps().size(); ++i) {
    for (std::size_t k = 0; k < schedule.steps()[i].after.size(); ++k) {
      std::vector<StreamStep> steps = schedule.steps();
      steps[i].after.erase(steps[i].after.begin() + static_cast<std::ptrdiff_t>(k));
      const StreamStep &step = schedule.steps()[i], &awaited = schedule.steps()[step.after[k]];
      // As far as buffers go, a copy may begin before its layer's routing: which experts it has is then not known. And behind
      // routing, the products of the layers before are done.
      if (step.work == StreamWork::kCopy &&
          (awaited.work == StreamWork::kRoute || (step.after.size() == 2 && awaited.layer < step.layer)))
        continue;
      ++n_waits;
      n_found += Orders(steps, 2).run().empty() ? 0 : 1;
    }
  }
  CHECK(n_waits > 10);
  CHECK(n_found == n_waits);
}
