#include "runtime/predict/stream_clock.hpp"

#include <algorithm>
#include <array>

#include "quant/check.hpp"

namespace dodeca::runtime::predict {

std::vector<StreamSpan> run_clock(std::span<const device::StreamStep> steps,
                                  const std::function<double(const device::StreamStep&)>& seconds) {
  std::vector<StreamSpan> spans;
  std::array<double, device::kStreamActors> free = {};
  for (const device::StreamStep& step : steps) {
    double& actor = free[static_cast<std::size_t>(step.actor)];
    double begin = actor;
    for (const std::size_t awaited : step.after) {
      DODECA_CHECK(awaited < spans.size(), awaited);
      begin = std::max(begin, spans[awaited].end);
    }
    actor = begin + seconds(step);
    spans.push_back({begin, actor});
  }
  return spans;
}

}  // namespace dodeca::runtime::predict
