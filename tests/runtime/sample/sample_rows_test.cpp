#include "runtime/sample/sample_rows.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "runtime/base/error.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;

// What a sampler is, without anything that makes it fast: all logits copied and sorted.
class PlainSampler {
 public:
  explicit PlainSampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}

  void accept(std::int32_t token) {
    recent_.push_back(token);
    if (options_.repeat_last_n >= 0 && std::ssize(recent_) > options_.repeat_last_n) recent_.erase(recent_.begin());
  }

  std::int32_t sample(std::vector<float> logits) {
    std::map<std::int32_t, int> counts;
    for (const std::int32_t token : recent_) ++counts[token];
    for (const auto& [token, count] : counts) {
      float& logit = logits[static_cast<std::size_t>(token)];
      const double scaled = logit <= 0 ? logit * options_.repeat_penalty : logit / options_.repeat_penalty;
      logit = static_cast<float>(scaled - count * options_.frequency_penalty - options_.presence_penalty);
    }
    std::vector<Candidate> all;
    for (std::size_t i = 0; i < logits.size(); ++i) all.push_back({logits[i], static_cast<std::int32_t>(i)});
    const Candidate best = *std::min_element(all.begin(), all.end(), is_better);
    if (options_.temperature <= 0 || options_.top_k == 1) return best.token;
    const double max = best.logit;
    double total = 0;
    if (options_.top_k > 0 || options_.top_p < 1) {
      if (options_.top_k <= 0)
        for (const Candidate& c : all) total += std::exp(c.logit - max);
      std::sort(all.begin(), all.end(), is_better);
      if (options_.top_k > 0) all.resize(std::min(all.size(), static_cast<std::size_t>(options_.top_k)));
      if (options_.top_k > 0)
        for (const Candidate& c : all) total += std::exp(c.logit - max);
    }
    if (options_.top_p < 1) {
      double sum = 0;
      std::size_t n = 0;
      while (n < all.size() && sum < options_.top_p * total) sum += std::exp(all[n++].logit - max);
      all.resize(std::max<std::size_t>(n, 1));
    }
    if (options_.min_p > 0)
      std::erase_if(all, [&](const Candidate& c) { return c.logit < max + std::log(options_.min_p); });
    std::vector<double> weights;
    for (const Candidate& c : all) weights.push_back(std::exp((c.logit - max) / options_.temperature));
    total = 0;
    for (const double weight : weights) total += weight;
    double left = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
    for (std::size_t i = 0; i < all.size(); ++i)
      if ((left -= weights[i]) < 0) return all[i].token;
    return all[0].token;
  }

 private:
  SamplerOptions options_;
  std::mt19937_64 random_;
  std::vector<std::int32_t> recent_;
};

// As models give them: a wide normal distribution, rounded so that equal logits occur.
std::vector<float> model_logits(std::size_t n, std::uint64_t seed, double grain) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, 3);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = static_cast<float>(std::round(normal(random) / grain) * grain);
  return logits;
}

std::vector<SamplerOptions> many_options() {
  std::vector<SamplerOptions> many;
  for (const double temperature : {0.0, 0.8, 3.0})
    for (const std::int64_t top_k : {0, 1, 3, 40, 300, 5000})
      for (const double top_p : {0.3, 0.95, 1.0})
        for (const double min_p : {0.0, 0.05})
          for (const double penalty : {1.0, 1.3}) {
            SamplerOptions options;
            options.temperature = temperature;
            options.top_k = top_k;
            options.top_p = top_p;
            options.min_p = min_p;
            options.repeat_penalty = penalty;
            options.frequency_penalty = penalty - 1;
            options.seed = many.size();
            many.push_back(options);
          }
  return many;
}

}  // namespace

TEST_CASE("rows are sampled as a sampler that sorts everything would, whatever the team and the vocabulary") {
  cpu::Team two(2), five(5);
  const std::vector<SamplerOptions> many = many_options();
  for (const std::size_t vocab : {1u, 100u, 3000u, 16'000u}) {
    for (const double grain : {1e-6, 0.5}) {
      std::vector<std::vector<float>> logits;
      std::vector<std::int32_t> expected;
      for (std::size_t i = 0; i < many.size(); ++i) {
        logits.push_back(model_logits(vocab, 7 * i + vocab, grain));
        PlainSampler plain(many[i]);
        for (std::size_t t = 0; t < 20; ++t) plain.accept(static_cast<std::int32_t>(t * 37 % vocab));
        expected.push_back(plain.sample(logits[i]));
      }
      const std::vector<std::vector<float>> before = logits;
      for (cpu::Team* team : {static_cast<cpu::Team*>(nullptr), &two, &five}) {
        std::vector<Sampler> samplers(many.begin(), many.end());
        std::vector<SampledRow> rows(many.size());
        for (std::size_t i = 0; i < many.size(); ++i) {
          for (std::size_t t = 0; t < 20; ++t) samplers[i].accept(static_cast<std::int32_t>(t * 37 % vocab));
          rows[i].sampler = &samplers[i];
          rows[i].logits = logits[i];
        }
        sample_rows(rows, team);
        std::vector<std::int32_t> drawn;
        for (const SampledRow& row : rows) drawn.push_back(row.token);
        CHECK(drawn == expected);
        CHECK(logits == before);
      }
    }
  }
}

TEST_CASE("one row is cut over the members") {
  cpu::Team team(3);
  std::vector<float> logits = model_logits(129'280, 1, 1e-6);
  SamplerOptions options;
  options.seed = 5;
  Sampler alone(options), together(options);
  for (int i = 0; i < 20; ++i) {
    SampledRow row{.sampler = &together, .logits = logits};
    sample_rows({&row, 1}, &team);
    CHECK(row.token == alone.sample(logits));
  }
}

TEST_CASE("banned tokens are not drawn; logprobs are those of the untouched logits") {
  cpu::Team team(2);
  std::vector<float> logits = model_logits(1000, 2, 1e-6);
  const std::vector<std::int32_t> banned = {
      static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
  SamplerOptions options;
  options.temperature = 0;
  options.repeat_penalty = 2;
  Sampler sampler(options);
  sampler.accept(banned[0]);
  std::vector<SampledRow> rows(2);
  rows[0] = {.sampler = &sampler, .logits = logits, .banned = banned, .n_logprobs = 2};
  rows[1] = {.logits = logits, .banned = {}, .n_logprobs = 0, .token = 17};
  std::vector<float> other = logits;  // rows have logits of their own
  rows[1].logits = other;
  sample_rows(rows, &team);
  CHECK(rows[0].token != banned[0]);
  const LogprobsResult expected = logprobs(logits, rows[0].token, 2);
  CHECK(rows[0].logprobs.chosen == expected.chosen);
  REQUIRE(rows[0].logprobs.top.size() == 2);
  CHECK(rows[0].logprobs.top[0].token == banned[0]);
  CHECK(rows[0].logprobs.top[1].token == rows[0].token);
  CHECK(rows[1].logprobs.chosen == logprobs(logits, 17, 0).chosen);
  CHECK(rows[1].token == 17);
}

TEST_CASE("a row with a NaN has an error, the others have tokens, and its logits are as before") {
  cpu::Team team(2);
  std::vector<float> good = model_logits(1000, 3, 1e-6), bad = good;
  bad[777] = std::nanf("");
  SamplerOptions options;
  options.repeat_penalty = 2;
  Sampler a(options), b(options);
  for (Sampler* sampler : {&a, &b}) sampler->accept(5);
  std::vector<SampledRow> rows(2);
  rows[0] = {.sampler = &a, .logits = bad};
  rows[1] = {.sampler = &b, .logits = good};
  sample_rows(rows, &team);
  REQUIRE(rows[0].error);
  try {
    std::rethrow_exception(rows[0].error);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("token=777") != std::string::npos);
  }
  CHECK(bad[5] == good[5]);
  CHECK_FALSE(rows[1].error);
}
