#include "runtime/sample/sampler.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "runtime/base/error.hpp"

namespace {

using namespace dodeca::runtime;

std::vector<float> random_logits(std::uint64_t seed, std::size_t n) {
  std::mt19937_64 random(seed);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = static_cast<float>(static_cast<double>(random() >> 40) * 0x1p-24 * 12.0 - 6.0);
  return logits;
}

SamplerOptions plain(double temperature) {
  SamplerOptions options;
  options.temperature = temperature;
  options.top_k = 0;
  options.top_p = 1;
  options.min_p = 0;
  return options;
}

// Share of each token in n draws.
std::map<std::int32_t, double> shares(const SamplerOptions& options, const std::vector<float>& logits, int n) {
  Sampler sampler(options);
  std::map<std::int32_t, double> out;
  for (int i = 0; i < n; ++i) out[sampler.sample(logits)] += 1.0 / n;
  return out;
}

TEST_CASE("greedy takes the highest logit, of equal ones the lowest id") {
  Sampler sampler(plain(0));
  CHECK(sampler.sample(std::vector<float>{1, 5, 3, 5}) == 1);
  CHECK(sampler.sample(std::vector<float>{-7}) == 0);
  CHECK(sampler.sample(std::vector<float>{-std::numeric_limits<float>::infinity(), -3}) == 1);
}

TEST_CASE("NaN and infinite logits are errors at any temperature") {
  const float inf = std::numeric_limits<float>::infinity();
  for (const double temperature : {0.0, 0.8}) {
    Sampler sampler(plain(temperature));
    CHECK_THROWS_AS(sampler.sample(std::vector<float>{0, std::nanf(""), 2}), Error);
    CHECK_THROWS_AS(sampler.sample(std::vector<float>{0, inf}), Error);
    CHECK_THROWS_AS(sampler.sample(std::vector<float>{-inf, -inf}), Error);
    CHECK_THROWS_AS(sampler.sample(std::vector<float>{}), Error);
  }
  CHECK_THROWS_AS(logprobs(std::vector<float>{0, std::nanf("")}, 0, 1), Error);
}

TEST_CASE("the same seed gives the same tokens, another seed others") {
  const std::vector<float> logits = random_logits(1, 500);
  SamplerOptions options;
  options.temperature = 1.0;
  std::vector<std::int32_t> first, again, other;
  for (auto [seed, out] : {std::pair{7u, &first}, {7u, &again}, {8u, &other}}) {
    options.seed = seed;
    Sampler sampler(options);
    for (int i = 0; i < 50; ++i) out->push_back(sampler.sample(logits));
  }
  CHECK(first == again);
  CHECK(first != other);
}

TEST_CASE("draws follow the softmax at the temperature") {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f};
  for (const double temperature : {0.5, 1.0, 2.0}) {
    const auto share = shares(plain(temperature), logits, 40000);
    double total = 0;
    for (const float logit : logits) total += std::exp(logit / temperature);
    for (std::int32_t token = 0; token < 4; ++token) {
      const double expected = std::exp(logits[static_cast<std::size_t>(token)] / temperature) / total;
      const auto it = share.find(token);
      CHECK(std::abs((it == share.end() ? 0.0 : it->second) - expected) < 0.012);
    }
  }
}

TEST_CASE("top-k, top-p and min-p keep what their definitions keep") {
  const std::vector<float> logits = random_logits(3, 3000);
  std::vector<std::int32_t> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  const auto allowed_count = [&](const SamplerOptions& options) {
    const auto share = shares(options, logits, 20000);
    std::int32_t deepest = 0;
    for (const auto& [token, n] : share)
      deepest = std::max(deepest,
                         static_cast<std::int32_t>(std::find(order.begin(), order.end(), token) - order.begin()) + 1);
    return deepest;
  };
  SUBCASE("top-k") {
    SamplerOptions options = plain(2.0);
    options.top_k = 5;
    CHECK(allowed_count(options) == 5);
    options.top_k = 1;
    CHECK(allowed_count(options) == 1);
  }
  SUBCASE("top-p: the fewest tokens that reach the share") {
    SamplerOptions options = plain(5.0);
    options.top_p = 0.05;
    double sum = 0;
    std::int32_t expected = 0;
    while (sum < 0.05 * total)
      sum += std::exp(static_cast<double>(logits[static_cast<std::size_t>(order[expected++])]));
    CHECK(expected > 5);
    CHECK(allowed_count(options) == expected);
    options.top_p = 0;
    CHECK(allowed_count(options) == 1);
  }
  SUBCASE("top-p over thousands of candidates") {
    SamplerOptions options = plain(1.0);
    options.top_p = 0.95;
    double sum = 0;
    std::int32_t limit = 0;
    while (sum < 0.95 * total) sum += std::exp(static_cast<double>(logits[static_cast<std::size_t>(order[limit++])]));
    CHECK(limit > 300);
    CHECK(allowed_count(options) <= limit);
  }
  SUBCASE("min-p: at least that share of the likeliest") {
    SamplerOptions options = plain(5.0);
    options.min_p = 0.9;
    const float floor = logits[static_cast<std::size_t>(order[0])] + static_cast<float>(std::log(0.9));
    const auto expected = std::count_if(logits.begin(), logits.end(), [&](float logit) { return logit >= floor; });
    CHECK(allowed_count(options) == expected);
  }
}

TEST_CASE("filters act before the temperature") {
  // Shares 0.5, 0.3, 0.2: top-p 0.7 keeps two at any temperature, also where a hot softmax would be nearly flat.
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  SamplerOptions options = plain(100.0);
  options.top_p = 0.7;
  CHECK(shares(options, logits, 2000).size() == 2);
}

TEST_CASE("penalties: repeat divides positive logits, frequency counts, presence does not") {
  SamplerOptions options = plain(0);
  SUBCASE("repeat") {
    options.repeat_penalty = 2.0;
    Sampler sampler(options);
    const std::vector<float> logits = {3.0f, 2.0f, -1.0f};
    CHECK(sampler.sample(logits) == 0);
    sampler.accept(0);
    CHECK(sampler.sample(logits) == 1);  // 1.5 < 2
    const std::vector<float> negative = {-1.0f, -1.5f};
    CHECK(sampler.sample(negative) == 1);  // -2 < -1.5
  }
  SUBCASE("frequency and presence") {
    options.frequency_penalty = 0.4;
    Sampler sampler(options);
    const std::vector<float> logits = {2.0f, 1.0f};
    sampler.accept(0);
    sampler.accept(0);
    CHECK(sampler.sample(logits) == 0);  // 1.2
    sampler.accept(0);
    CHECK(sampler.sample(logits) == 1);  // 0.8
    options.frequency_penalty = 0;
    options.presence_penalty = 0.4;
    Sampler present(options);
    for (int i = 0; i < 9; ++i) present.accept(0);
    CHECK(present.sample(logits) == 0);  // 1.6, however often
  }
  SUBCASE("only the last tokens count") {
    options.repeat_penalty = 10.0;
    options.repeat_last_n = 2;
    Sampler sampler(options);
    const std::vector<float> logits = {3.0f, 2.0f, 1.0f};
    sampler.accept(0);
    CHECK(sampler.sample(logits) == 1);
    sampler.accept(2);
    sampler.accept(2);
    CHECK(sampler.sample(logits) == 0);
    options.repeat_last_n = 0;
    Sampler off(options);
    off.accept(0);
    CHECK(off.sample(logits) == 0);
  }
}

TEST_CASE("logprobs are the log softmax, best first") {
  const std::vector<float> logits = {0.0f, std::log(2.0f), 0.0f, std::log(4.0f)};
  const LogprobsResult result = logprobs(logits, 1, 3);
  CHECK(result.chosen == doctest::Approx(std::log(0.25)));
  REQUIRE(result.top.size() == 3);
  CHECK(result.top[0].token == 3);
  CHECK(result.top[0].logprob == doctest::Approx(std::log(0.5)));
  CHECK(result.top[1].token == 1);
  CHECK(result.top[2].token == 0);
  CHECK(logprobs(logits, 0, 0).top.empty());
  CHECK(logprobs(logits, 0, 99).top.size() == 4);
}

TEST_CASE("seeded draws are pinned") {
  Sampler sampler([] {
    SamplerOptions options = plain(1.0);
    options.seed = 42;
    return options;
  }());
  const std::vector<float> flat(1000, 0.0f);
  std::vector<std::int32_t> drawn;
  for (int i = 0; i < 4; ++i) drawn.push_back(sampler.sample(flat));
  // std::mt19937_64 seeded with 42, upper 53 bits, times 1000.
  CHECK(drawn == std::vector<std::int32_t>{755, 639, 752, 136});
}

}  // namespace
