#include "runtime/engine/stop_matcher.hpp"

#include <algorithm>
#include <utility>

namespace dodeca::runtime::engine {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopMatcher::push(std::string_view bytes) {
  held_ += bytes;
  std::size_t found = std::string::npos;
  for (const std::string& stop : stops_) found = std::min(found, held_.find(stop));
  if (found != std::string::npos) {
    stopped_ = true;
    held_.resize(found);
    return flush();
  }
  // Keep the longest end that begins a stop text.
  std::size_t keep = 0;
  for (const std::string& stop : stops_) {
    std::size_t n = std::min(stop.size() - 1, held_.size());
    while (n > keep && !std::string_view(stop).starts_with(std::string_view(held_).substr(held_.size() - n))) --n;
    keep = std::max(keep, n);
  }
  std::string released = held_.substr(0, held_.size() - keep);
  held_.erase(0, released.size());
  return released;
}

std::string StopMatcher::flush() { return std::exchange(held_, std::string()); }

}  // namespace dodeca::runtime::engine
