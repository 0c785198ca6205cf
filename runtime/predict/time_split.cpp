#include "runtime/predict/time_split.hpp"

#include <algorithm>
#include <numeric>

namespace dodeca::runtime::predict {
namespace {

struct Names {
  std::string_view name, key;
};
constexpr Names kNames[] = {
    {"node bandwidth", "node_bandwidth"},
    {"core-complex link", "complex_link"},
    {"one core's reading", "core_bandwidth"},
    {"arithmetic", "arithmetic"},
    {"attention", "attention"},
    {"barriers", "barriers"},
    {"exchanges", "exchanges"},
    {"serial work", "serial"},
    {"card memory", "card_memory"},
    {"card arithmetic", "card_arithmetic"},
    {"card launches", "card_launches"},
    {"card link", "card_link"},
};
static_assert(std::size(kNames) == static_cast<std::size_t>(Bound::kCount));

}  // namespace

std::string_view name_of(Bound bound) { return kNames[static_cast<std::size_t>(bound)].name; }
std::string_view key_of(Bound bound) { return kNames[static_cast<std::size_t>(bound)].key; }

double TimeSplit::sum() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

Bound TimeSplit::binding() const {
  return static_cast<Bound>(std::max_element(seconds.begin(), seconds.end()) - seconds.begin());
}

TimeSplit& TimeSplit::operator+=(const TimeSplit& other) {
  for (std::size_t i = 0; i < seconds.size(); ++i) seconds[i] += other.seconds[i];
  return *this;
}

TimeSplit TimeSplit::operator*(double n) const {
  TimeSplit split = *this;
  for (double& s : split.seconds) s *= n;
  return split;
}

}  // namespace dodeca::runtime::predict
