#include "runtime/device/stream_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quant/check.hpp"

namespace dodeca::runtime::device {
namespace {

// Seconds until the last wave has been multiplied: the link copies one wave after the other, the device multiplies what
// has come. Buffers are enough for that. Experts are added one by one to the last wave.
class DeviceClock {
 public:
  DeviceClock(const StreamRates& rates, double ahead) : rates_(rates), copied_(-ahead) {}

  void begin_wave() {
    copied_ += copy_;
    multiplied_ = std::max(copied_, multiplied_) + products_;
    copy_ = products_ = 0;
  }
  void add(std::int32_t rows) {
    copy_ += rates_.copied_expert;
    if (rows > 0) products_ += rates_.device_expert + rates_.device_row * rows;
  }
  // Nothing else could be copied before now.
  void arrive() {
    begin_wave();
    copied_ = std::max(0.0, copied_);
  }
  double seconds() const { return std::max({0.0, copied_ + copy_, multiplied_}) + products_; }

 private:
  const StreamRates& rates_;
  double copied_, multiplied_ = 0;  // of the waves before the last one
  double copy_ = 0, products_ = 0;  // of the last one
};

}  // namespace

std::int64_t Wave::rows() const { return std::accumulate(n_rows.begin(), n_rows.end(), std::int64_t{0}); }

Division divide_experts(std::span<const std::int32_t> n_rows, const StreamShape& shape, const StreamRates& rates,
                        const Prefetched& prefetched) {
  Division division;
  std::vector<char> taken(n_rows.size(), 0);
  for (const std::vector<std::int32_t>& experts : prefetched.waves) {
    Wave& wave = division.waves.emplace_back();
    for (const std::int32_t expert : experts) {
      taken[static_cast<std::size_t>(expert)] = 1;
      wave.experts.push_back(expert);
      wave.n_rows.push_back(n_rows[static_cast<std::size_t>(expert)]);
    }
  }
  std::vector<std::int32_t> others;
  double host = 0;
  for (std::size_t e = 0; e < n_rows.size(); ++e) {
    if (n_rows[e] == 0 || taken[e] != 0) continue;
    others.push_back(static_cast<std::int32_t>(e));
    host += rates.host_expert + rates.host_row * n_rows[e];
  }
  const auto rows_of = [&](std::int32_t expert) { return n_rows[static_cast<std::size_t>(expert)]; };
  std::ranges::stable_sort(others, [&](std::int32_t a, std::int32_t b) { return rows_of(a) > rows_of(b); });
  DeviceClock clock(rates, prefetched.seconds);
  for (const Wave& wave : division.waves) {
    clock.begin_wave();
    for (const std::int32_t rows : wave.n_rows) clock.add(rows);
  }
  division.host_seconds = host;
  division.device_seconds = clock.seconds();
  if (shape.n_buffers == 0) return division;
  clock.arrive();
  // One expert more on the device makes its time longer and the host's shorter: the best is where they cross.
  for (std::size_t i = 0; i < others.size(); ++i) {
    const std::int32_t expert = others[i], rows = rows_of(expert);
    const bool begins = i % static_cast<std::size_t>(shape.wave_experts) == 0;
    if (begins) clock.begin_wave();
    clock.add(rows);
    host -= rates.host_expert + rates.host_row * rows;
    if (std::max(clock.seconds(), host) >= std::max(division.device_seconds, division.host_seconds)) break;
    if (begins) division.waves.emplace_back();
    division.waves.back().experts.push_back(expert);
    division.waves.back().n_rows.push_back(rows);
    division.device_seconds = clock.seconds();
    division.host_seconds = std::max(0.0, host);
  }
  // Neighbours lie behind one another in memory and go in one copy.
  for (std::size_t w = prefetched.waves.size(); w < division.waves.size(); ++w) {
    Wave& wave = division.waves[w];
    std::ranges::sort(wave.experts);
    std::ranges::transform(wave.experts, wave.n_rows.begin(), rows_of);
  }
  return division;
}

std::vector<std::vector<std::int32_t>> waves_ahead(std::int64_t n_experts, std::int64_t n_used, std::int64_t n_rows,
                                                   const StreamShape& shape, const StreamRates& rates, double seconds) {
  const std::vector<std::int32_t> alike(
      static_cast<std::size_t>(n_experts),
      static_cast<std::int32_t>(std::max<std::int64_t>(1, n_rows * n_used / n_experts)));
  Division division = divide_experts(alike, shape, rates, {.waves = {}, .seconds = seconds});
  std::vector<std::vector<std::int32_t>> waves;
  for (Wave& wave : division.waves)
    if (std::ssize(waves) < shape.n_buffers) waves.push_back(std::move(wave.experts));
  return waves;
}

std::int64_t least_streamed_rows(std::int64_t n_experts, std::int64_t n_used, std::int64_t most_rows,
                                 const StreamShape& shape, const StreamRates& rates, double gain) {
  const auto gains = [&](std::int64_t rows) {
    const double pairs = static_cast<double>(rows * n_used), n = static_cast<double>(n_experts),
                 touched = n * (1 - std::pow(1 - static_cast<double>(n_used) / n, static_cast<double>(rows)));
    std::vector<std::int32_t> each(static_cast<std::size_t>(std::lround(touched)),
                                   static_cast<std::int32_t>(std::lround(std::max(1.0, pairs / touched))));
    const double alone = divide_experts(each, {}, rates).host_seconds;
    const Division both = divide_experts(each, shape, rates);
    return std::max(both.device_seconds, both.host_seconds) <= (1 - gain) * alone;
  };
  if (shape.n_buffers == 0) return -1;
  std::int64_t rows = 1;
  while (rows <= most_rows && !gains(rows)) rows += std::max<std::int64_t>(1, rows / 16);
  return rows <= most_rows ? rows : -1;
}

std::size_t StreamSchedule::add(StreamStep step) {
  steps_.push_back(std::move(step));
  return steps_.size() - 1;
}

void StreamSchedule::add_copy(std::int64_t layer, std::vector<std::size_t> after) {
  const std::int64_t wave = n_waves_++;
  if (wave >= n_buffers_) {
    DODECA_CHECK(wave - n_buffers_ < std::ssize(products_), wave);  // else the copy would wait for what is behind it
    after.push_back(products_[static_cast<std::size_t>(wave - n_buffers_)]);
  }
  copies_.push_back(add({.actor = StreamActor::kLink,
                         .work = StreamWork::kCopy,
                         .layer = layer,
                         .wave = wave,
                         .buffer = wave % n_buffers_,
                         .after = std::move(after)}));
}

std::size_t StreamSchedule::prefetch(std::int64_t layer, std::int64_t n_waves) {
  const std::size_t first = steps_.size();
  for (std::int64_t i = 0; i < n_waves; ++i) add_copy(layer, {});
  n_prefetched_ += n_waves;
  return first;
}

// The copies and products of a layer take turns, so that a copy finds the product that it waits for.
std::size_t StreamSchedule::add_layer(std::int64_t layer, std::int64_t n_waves) {
  const std::size_t route =
      add({.actor = StreamActor::kDevice, .work = StreamWork::kRoute, .layer = layer, .after = {}});
  add({.actor = StreamActor::kDevice, .work = StreamWork::kShared, .layer = layer, .after = {}});
  const std::size_t experts =
      add({.actor = StreamActor::kHost, .work = StreamWork::kExperts, .layer = layer, .after = {route}});
  std::int64_t to_copy = n_waves - n_prefetched_;
  const auto copy_more = [&] {
    for (; to_copy > 0 && n_waves_ - n_multiplied_ < n_buffers_; --to_copy) add_copy(layer, {route});
  };
  copy_more();
  for (std::int64_t i = 0; i < n_waves; ++i) {
    const auto wave = static_cast<std::size_t>(n_multiplied_++);
    products_.push_back(add({.actor = StreamActor::kDevice,
                             .work = StreamWork::kMultiply,
                             .layer = layer,
                             .wave = static_cast<std::int64_t>(wave),
                             .buffer = steps_[copies_[wave]].buffer,
                             .after = {copies_[wave]}}));
    copy_more();
  }
  n_prefetched_ = 0;
  add({.actor = StreamActor::kDevice, .work = StreamWork::kMerge, .layer = layer, .after = {experts}});
  return route;
}

}  // namespace dodeca::runtime::device
