#include "runtime/sample/scanned_logits.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {
namespace {

std::span<const float> chunk_of(std::span<const float> logits, std::size_t chunk) {
  const std::size_t begin = chunk * cpu::kMaxChunk;
  return logits.subspan(begin, std::min<std::size_t>(cpu::kMaxChunk, logits.size() - begin));
}

}  // namespace

ScannedLogits::ScannedLogits(std::span<const float> logits, std::span<const float> maxima)
    : logits_(logits), maxima_(maxima) {
  std::size_t best = 0;  // chunk
  for (std::size_t c = 0; c < maxima_.size(); ++c) {
    if (std::isnan(maxima_[c])) {
      const auto nan = std::ranges::find_if(logits_, [](float logit) { return std::isnan(logit); });
      throw Error(ErrorKind::kBadFile, "a logit is NaN: the weights or the computation are broken")
          .with("token", nan - logits_.begin());
    }
    if (maxima_[c] > maxima_[best]) best = c;
  }
  if (logits_.empty() || !std::isfinite(maxima_[best]))
    throw Error(ErrorKind::kBadFile, "no finite largest logit: the weights or the computation are broken")
        .with("vocabulary", logits_.size());
  max_ = maxima_[best];
  const std::span<const float> chunk = chunk_of(logits_, best);
  best_ = static_cast<std::int32_t>(std::ranges::find(chunk, max_) - chunk.begin() +
                                    static_cast<std::ptrdiff_t>(best) * cpu::kMaxChunk);
}

void ScannedLogits::find_from(double floor, std::vector<Candidate>& found) const {
  found.clear();
  for (std::size_t c = 0; c < maxima_.size(); ++c) {
    if (maxima_[c] < floor) continue;
    const std::span<const float> chunk = chunk_of(logits_, c);
    for (std::size_t i = 0; i < chunk.size(); ++i)
      if (!(chunk[i] < floor)) found.push_back({chunk[i], static_cast<std::int32_t>(c * cpu::kMaxChunk + i)});
  }
}

void ScannedLogits::find_best(std::size_t n, std::vector<Candidate>& found) const {
  // The n-th largest of the maxima has at least n logits that are as large, so it keeps all of the n best.
  float floor = -std::numeric_limits<float>::infinity();
  if (n > 0 && n <= maxima_.size()) {
    std::vector<float> sorted(maxima_.begin(), maxima_.end());
    const auto nth = sorted.begin() + static_cast<std::ptrdiff_t>(n) - 1;
    std::nth_element(sorted.begin(), nth, sorted.end(), std::greater<>());
    floor = *nth;
  }
  find_from(floor, found);
  const auto end = found.begin() + static_cast<std::ptrdiff_t>(n);
  if (end != found.end()) std::nth_element(found.begin(), end, found.end(), is_better);
  std::sort(found.begin(), end, is_better);
  found.resize(n);
}

}  // namespace dodeca::runtime
