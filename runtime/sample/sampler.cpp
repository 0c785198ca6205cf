#include "runtime/sample/sampler.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {
namespace {

// Index of the highest logit. One pass checks what every caller relies on: no NaN, and a finite maximum.
std::size_t checked_argmax(std::span<const float> logits) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]))
      throw Error(ErrorKind::kBadFile, "a logit is NaN: the weights or the computation are broken").with("token", i);
    if (logits[i] > logits[best]) best = i;
  }
  if (logits.empty() || !std::isfinite(logits[best]))
    throw Error(ErrorKind::kBadFile, "no finite largest logit: the weights or the computation are broken")
        .with("vocabulary", logits.size());
  return best;
}

constexpr auto kBetter = [](const auto& a, const auto& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
};

}  // namespace

LogprobsResult logprobs(std::span<const float> logits, std::int32_t token, std::int64_t n_top) {
  const double max = logits[checked_argmax(logits)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  const double log_sum = max + std::log(sum);
  LogprobsResult result;
  result.chosen = static_cast<float>(logits[token] - log_sum);
  if (n_top <= 0) return result;
  std::vector<TokenLogprob> all(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) all[i] = {static_cast<std::int32_t>(i), logits[i]};
  const auto n = std::min<std::size_t>(static_cast<std::size_t>(n_top), all.size());
  std::partial_sort(
      all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n), all.end(),
      [](const auto& a, const auto& b) { return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token; });
  all.resize(n);
  for (TokenLogprob& entry : all) entry.logprob = static_cast<float>(entry.logprob - log_sum);
  result.top = std::move(all);
  return result;
}

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}

bool Sampler::has_penalties() const {
  return options_.repeat_last_n != 0 &&
         (options_.repeat_penalty != 1.0 || options_.frequency_penalty != 0.0 || options_.presence_penalty != 0.0);
}

void Sampler::accept(std::int32_t token) {
  if (!has_penalties()) return;
  recent_.push_back(token);
  ++counts_[token];
  if (options_.repeat_last_n < 0 || recent_.size() <= static_cast<std::size_t>(options_.repeat_last_n)) return;
  if (const auto it = counts_.find(recent_.front()); --it->second == 0) counts_.erase(it);
  recent_.pop_front();
}

double Sampler::uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

std::int32_t Sampler::sample(std::span<const float> logits) {
  if (has_penalties()) {
    penalized_.assign(logits.begin(), logits.end());
    for (const auto& [token, count] : counts_) {
      if (token < 0 || static_cast<std::size_t>(token) >= penalized_.size()) continue;
      float& logit = penalized_[token];
      const double scaled = logit <= 0 ? logit * options_.repeat_penalty : logit / options_.repeat_penalty;
      logit = static_cast<float>(scaled - static_cast<double>(count) * options_.frequency_penalty -
                                 options_.presence_penalty);
    }
    logits = penalized_;
  }
  const std::size_t best = checked_argmax(logits);
  if (options_.temperature <= 0 || options_.top_k == 1) return static_cast<std::int32_t>(best);

  // Candidates best first, as far down as the filters can need them: `sorted` of them are in order.
  const double max = logits[best];
  candidates_.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) candidates_[i] = {logits[i], static_cast<std::int32_t>(i)};
  std::size_t n = candidates_.size();
  if (options_.top_k > 0) n = std::min(n, static_cast<std::size_t>(options_.top_k));
  std::size_t sorted = 0;
  const auto sort_to = [&](std::size_t end) {
    end = std::min(end, n);
    if (end <= sorted) return;
    const auto from = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
    const auto to = candidates_.begin() + static_cast<std::ptrdiff_t>(end);
    if (to != candidates_.end()) std::nth_element(from, to, candidates_.end(), kBetter);
    std::sort(from, to, kBetter);
    sorted = end;
  };
  if (options_.top_k > 0) sort_to(n);

  if (options_.top_p < 1.0) {
    double total = 0;  // over what top-k left
    for (std::size_t i = 0; i < n; ++i) total += std::exp(candidates_[i].logit - max);
    double cumulative = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (i >= sorted) sort_to(std::max<std::size_t>(256, 4 * sorted));
      cumulative += std::exp(candidates_[i].logit - max);
      if (cumulative >= options_.top_p * total) {
        n = i + 1;
        break;
      }
    }
  }
  if (options_.min_p > 0) {
    const double floor = max + std::log(std::min(1.0, options_.min_p));
    const auto below = [&](const Candidate& c) { return c.logit < floor; };
    n = static_cast<std::size_t>(
        std::remove_if(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(n), below) -
        candidates_.begin());
  }

  weights_.resize(n);
  double total = 0;
  for (std::size_t i = 0; i < n; ++i)
    total += weights_[i] = std::exp((candidates_[i].logit - max) / options_.temperature);
  double left = uniform() * total;
  for (std::size_t i = 0; i < n; ++i)
    if ((left -= weights_[i]) < 0) return candidates_[i].token;
  return candidates_[0].token;  // rounding ate the last share
}

}  // namespace dodeca::runtime
