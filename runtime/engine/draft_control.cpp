#include "runtime/engine/draft_control.hpp"

#include <algorithm>
#include <bit>

namespace dodeca::runtime::engine {
namespace {

constexpr std::size_t kWindow = 24;                            // steps
constexpr std::int64_t kFirstStay = 256, kLongestStay = 8192;  // steps between comparisons, doubled while they agree
constexpr double kMargin = 1.03;                               // what a change must promise

}  // namespace

void DraftControl::Window::add(const DraftStep& step) {
  seconds.push_back(step.seconds);
  n_tokens += step.n_tokens;
}

double DraftControl::Window::rate() const {
  std::vector<double> sorted = seconds;
  std::ranges::sort(sorted);
  const double median = sorted[sorted.size() / 2];
  return median > 0 ? static_cast<double>(n_tokens) / (median * static_cast<double>(sorted.size())) : 0;
}

std::size_t DraftControl::load_of(std::int64_t n) {
  return std::min<std::size_t>(std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(n, 1) - 1)), 4);
}

bool DraftControl::add(const DraftStep& step) {
  if (step.verified != step.drafted) return false;  // between the two kinds
  DraftSpeed& speed = step.verified ? with_ : without_;
  ++speed.n_steps;
  speed.n_tokens += step.n_tokens;
  speed.seconds += step.seconds;
  Load& load = loads_[load_of(step.n_sequences)];
  if (!measures_ || step.verified != load.on) return false;
  if (load.n_left > 0) {
    if (--load.n_left > 0) return false;
    load.on_window = load.off_window = {};
  }
  Window &now = load.on ? load.on_window : load.off_window, &other = load.on ? load.off_window : load.on_window;
  now.add(step);
  if (now.seconds.size() < kWindow) return false;
  if (other.seconds.empty()) {
    load.on = !load.on;  // the other's turn
    return false;
  }
  return compare(load, step.n_sequences);
}

bool DraftControl::compare(Load& load, std::int64_t n_sequences) {
  verdict_ = {load.best, n_sequences, load.on_window.rate(), load.off_window.rate()};
  const double best = load.best ? verdict_.rate_on : verdict_.rate_off,
               other = load.best ? verdict_.rate_off : verdict_.rate_on;
  const bool changes = other > best * kMargin;
  if (changes) load.best = !load.best;
  load.n_stay = changes || !load.compared ? kFirstStay : std::min(2 * load.n_stay, kLongestStay);
  load.compared = true;
  load.n_left = load.n_stay;
  load.on = load.best;
  verdict_.on = load.best;
  return changes;
}

}  // namespace dodeca::runtime::engine
