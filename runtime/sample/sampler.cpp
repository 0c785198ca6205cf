#include "runtime/sample/sampler.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {
namespace {

std::vector<float> maxima_of(std::span<const float> logits) {
  std::vector<float> maxima(cpu::chunks_of(std::ssize(logits)));
  cpu::chunk_maxima(logits.data(), std::ssize(logits), maxima.data(), cpu::host_isa());
  return maxima;
}

}  // namespace

LogprobsResult logprobs(const ScannedLogits& logits, std::int32_t token, std::int64_t n_top) {
  const double max = logits.max();
  double sum = 0;
  for (const float logit : logits.all()) sum += std::exp(logit - max);
  const double log_sum = max + std::log(sum);
  LogprobsResult result;
  result.chosen = static_cast<float>(logits.all()[token] - log_sum);
  if (n_top <= 0) return result;
  std::vector<Candidate> best;
  logits.find_best(std::min<std::size_t>(static_cast<std::size_t>(n_top), logits.all().size()), best);
  for (const Candidate& c : best) result.top.push_back({c.token, static_cast<float>(c.logit - log_sum)});
  return result;
}

LogprobsResult logprobs(std::span<const float> logits, std::int32_t token, std::int64_t n_top) {
  return logprobs(ScannedLogits(logits, maxima_of(logits)), token, n_top);
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

std::vector<Candidate> Sampler::penalties(std::span<const float> logits) const {
  std::vector<Candidate> changed;
  if (!has_penalties()) return changed;
  for (const auto& [token, count] : counts_) {
    if (token < 0 || static_cast<std::size_t>(token) >= logits.size()) continue;
    const float logit = logits[token];
    const double scaled = logit <= 0 ? logit * options_.repeat_penalty : logit / options_.repeat_penalty;
    changed.push_back({static_cast<float>(scaled - static_cast<double>(count) * options_.frequency_penalty -
                                          options_.presence_penalty),
                       token});
  }
  return changed;
}

std::int32_t Sampler::sample(std::span<const float> logits) {
  std::vector<float> penalized(logits.begin(), logits.end());
  for (const Candidate& changed : penalties(logits)) penalized[changed.token] = changed.logit;
  return draw(ScannedLogits(penalized, maxima_of(penalized)));
}

// Best first where top-k or top-p need an order, else in order of tokens: the draw walks them as they stand.
void Sampler::find_candidates(const ScannedLogits& logits) {
  const bool has_min_p = options_.min_p > 0, has_top_k = options_.top_k > 0, has_top_p = options_.top_p < 1.0;
  const double floor =
      has_min_p ? logits.max() + std::log(std::min(1.0, options_.min_p)) : -std::numeric_limits<double>::infinity();
  candidates_.clear();
  if (has_top_k)
    logits.find_best(std::min(logits.all().size(), static_cast<std::size_t>(options_.top_k)), candidates_);
  else if (has_min_p || !has_top_p)  // with top-p alone they are found as far as they are needed
    logits.find_from(floor, candidates_);
  if (has_top_p && !has_top_k) std::sort(candidates_.begin(), candidates_.end(), is_better);
  if (has_top_p) cut_top_p(logits);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < floor; });
}

// Keeps the fewest that together have the share top_p: of the candidates that top-k left, or of the vocabulary.
void Sampler::cut_top_p(const ScannedLogits& logits) {
  const double max = logits.max();
  double total = 0, cumulative = 0;
  if (options_.top_k > 0)
    for (const Candidate& c : candidates_) total += std::exp(c.logit - max);
  else
    for (const float logit : logits.all()) total += std::exp(logit - max);
  std::size_t n = candidates_.empty() ? logits.all().size() : candidates_.size();
  for (std::size_t i = 0; i < n; ++i) {
    if (i >= candidates_.size()) logits.find_best(std::min(n, std::max<std::size_t>(256, 4 * i)), candidates_);
    cumulative += std::exp(candidates_[i].logit - max);
    if (cumulative >= options_.top_p * total) n = i + 1;
  }
  candidates_.resize(n);
}

std::int32_t Sampler::draw(const ScannedLogits& logits) {
  if (options_.temperature <= 0 || options_.top_k == 1) return logits.best();
  find_candidates(logits);
  const double max = logits.max();
  const std::size_t n = candidates_.size();
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
