#include "cpu/peak.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

namespace dodeca::cpu {
namespace {

// The best rate of every member. work() does its share and returns how much that was.
template <class Work>
std::vector<double> best_rates(Team& team, double seconds, const Work& work) {
  using Clock = std::chrono::steady_clock;
  constexpr int kLeastSamples = 3;
  std::vector<double> best(static_cast<std::size_t>(team.size()), 0.0);
  team.run([&](const Member& member) {
    double mine = 0;
    member.barrier();
    const Clock::time_point first = Clock::now();
    Clock::time_point start = first;
    for (int sample = 0; sample < kLeastSamples || std::chrono::duration<double>(start - first).count() < seconds;
         ++sample) {
      const double amount = work();
      const Clock::time_point end = Clock::now();
      mine = std::max(mine, amount / std::chrono::duration<double>(end - start).count());
      start = end;
    }
    best[static_cast<std::size_t>(member.index)] = mine;
  });
  return best;
}

}  // namespace

double peak_macs(Team& team, PeakKind kind, double seconds, Isa isa) {
  const PeakKernel* variant = select_peak(kind, isa);
  if (variant == nullptr) return 0;
  constexpr std::int64_t kRounds = 1 << 15;  // about 100 us
  const std::vector<double> rates = best_rates(team, seconds, [&] { return variant->run(kRounds); });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

double clock_hz(Team& team, double seconds) {
  constexpr std::int64_t kAdds = 1 << 18;
  const std::vector<double> rates =
      best_rates(team, seconds, [] { return static_cast<double>(dependent_adds(kAdds)); });
  return *std::min_element(rates.begin(), rates.end());
}

}  // namespace dodeca::cpu
