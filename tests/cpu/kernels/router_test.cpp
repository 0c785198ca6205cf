#include "cpu/kernels/router/router.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

using namespace dodeca;
using cpu::Gating;
using cpu::GroupScore;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Case {
  std::vector<float> logits = {}, bias = {};
  std::int64_t n_used = 1, n_groups = 1, n_groups_used = 1;
  GroupScore group_score = GroupScore::kMax;
  Gating gating = Gating::kSigmoid;
  bool normalize = false;
  float scale = 1;
};
struct Choice {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

Choice route(const Case& c) {
  Choice out{std::vector<std::int32_t>(c.n_used, -1), std::vector<float>(c.n_used)};
  std::vector<float> scratch(2 * c.logits.size());
  cpu::route({.logits = c.logits.data(),
              .bias = c.bias.empty() ? nullptr : c.bias.data(),
              .n_experts = static_cast<std::int64_t>(c.logits.size()),
              .n_used = c.n_used,
              .n_groups = c.n_groups,
              .n_groups_used = c.n_groups_used,
              .group_score = c.group_score,
              .gating = c.gating,
              .normalize = c.normalize,
              .scale = c.scale,
              .ids = out.ids.data(),
              .weights = out.weights.data(),
              .scratch = scratch.data()});
  return out;
}

std::vector<float> logits_of_sigmoid(std::vector<float> scores) {
  for (float& s : scores) s = std::log(s / (1 - s));
  return scores;
}

void check(const Choice& got, const std::vector<std::int32_t>& ids, const std::vector<double>& weights) {
  CHECK(got.ids == ids);
  REQUIRE(got.weights.size() == weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) CHECK(got.weights[i] == doctest::Approx(weights[i]).epsilon(1e-6));
}

// The published rules, the slow way: full sorts in double precision of the same float scores.
Choice reference(const Case& c) {
  const std::size_t n = c.logits.size();
  std::vector<double> score(n), choice(n);
  double sum = 0;
  for (std::size_t e = 0; e < n; ++e) {
    score[e] = c.gating == Gating::kSigmoid ? 1 / (1 + std::exp(-static_cast<double>(c.logits[e])))
                                            : std::exp(static_cast<double>(c.logits[e]));
    sum += score[e];
  }
  for (std::size_t e = 0; e < n; ++e) {
    if (c.gating == Gating::kSoftmax) score[e] /= sum;
    choice[e] = score[e] + (c.bias.empty() ? 0 : c.bias[e]);
  }
  const std::size_t size = n / static_cast<std::size_t>(c.n_groups);
  std::vector<std::pair<double, std::size_t>> groups;
  for (std::size_t g = 0; g < static_cast<std::size_t>(c.n_groups); ++g) {
    std::vector<double> values(choice.begin() + g * size, choice.begin() + (g + 1) * size);
    std::sort(values.rbegin(), values.rend());
    groups.push_back({c.group_score == GroupScore::kMax ? values[0] : values[0] + values[1], g});
  }
  std::sort(groups.begin(), groups.end(), [](auto a, auto b) { return a.first > b.first; });
  for (std::size_t i = static_cast<std::size_t>(c.n_groups_used); i < groups.size(); ++i) {
    std::fill_n(choice.begin() + groups[i].second * size, size, -std::numeric_limits<double>::infinity());
  }
  std::vector<std::int32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return choice[a] > choice[b]; });
  Choice out{{order.begin(), order.begin() + c.n_used}, {}};
  std::sort(out.ids.begin(), out.ids.end());
  double chosen = 0;
  for (int e : out.ids) chosen += score[e];
  for (int e : out.ids) out.weights.push_back(static_cast<float>(score[e] / (c.normalize ? chosen : 1) * c.scale));
  return out;
}

}  // namespace

TEST_CASE("router: the fixture tells the three published rules apart") {
  Case c{.logits = logits_of_sigmoid({0.90f, 0.10f, 0.50f, 0.60f, 0.80f, 0.35f, 0.50f, 0.49f}),
         .bias = {0, 0, 0.10f, -0.04f, 0, 0, 0, 0},
         .n_used = 3,
         .n_groups = 4,
         .n_groups_used = 2,
         .group_score = GroupScore::kTop2Sum,
         .normalize = true,
         .scale = 2.5f};
  check(route(c), {2, 3, 4}, {0.6578947, 0.7894737, 1.0526316});
  c.group_score = GroupScore::kMax;
  check(route(c), {0, 4, 5}, {1.0975610, 0.9756098, 0.4268293});
  c.n_groups = c.n_groups_used = 1;
  check(route(c), {0, 2, 4}, {1.0227273, 0.5681818, 0.9090909});
}

TEST_CASE("router: agrees with the rules written out, on random logits of the published shapes") {
  std::mt19937 rng(5);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  Case shapes[] = {
      {.n_used = 8,
       .n_groups = 8,
       .n_groups_used = 4,
       .group_score = GroupScore::kTop2Sum,
       .normalize = true,
       .scale = 2.5f},
      {.n_used = 6, .n_groups = 8, .n_groups_used = 3, .gating = Gating::kSoftmax, .scale = 16.0f},
      {.n_used = 6, .gating = Gating::kSoftmax},
      {.n_used = 8, .normalize = true, .scale = 2.827f},
  };
  const std::size_t n_experts[] = {256, 160, 64, 384};
  for (int s = 0; s < 4; ++s) {
    for (int repeat = 0; repeat < 50; ++repeat) {
      Case& c = shapes[s];
      c.logits.resize(n_experts[s]);
      for (float& logit : c.logits) logit = normal(rng);
      c.bias.clear();
      if (c.gating == Gating::kSigmoid) {
        c.bias.resize(n_experts[s]);
        for (float& bias : c.bias) bias = 0.1f * normal(rng);
      }
      const Choice want = reference(c), got = route(c);
      check(got, want.ids, {want.weights.begin(), want.weights.end()});
    }
  }
}

TEST_CASE("router: ties take the lowest index, of experts and of groups") {
  CHECK(route({.logits = std::vector<float>(8, 0.5f), .n_used = 3}).ids == std::vector<std::int32_t>{0, 1, 2});
  CHECK(route({.logits = {0, 1, 1, 1, 0}, .n_used = 2}).ids == std::vector<std::int32_t>{1, 2});
  CHECK(route({.logits = {0, 1, 1, 0, 1, 0}, .n_used = 1, .n_groups = 3, .n_groups_used = 1}).ids ==
        std::vector<std::int32_t>{1});
}

TEST_CASE("router: negative biased scores in a kept group beat every masked expert") {
  Case c{.logits = {2, 2, -1, -1, -2, -2},
         .bias = {0, 0, -5, -5, -5, -5},
         .n_used = 4,
         .n_groups = 3,
         .n_groups_used = 2,
         .group_score = GroupScore::kTop2Sum};
  CHECK(route(c).ids == std::vector<std::int32_t>{0, 1, 2, 3});
}

TEST_CASE("router: NaN and infinite logits choose distinct experts in range") {
  std::mt19937 rng(6);
  const float specials[] = {kNaN, -kNaN, kInf, -kInf, 0, 1, -1, 3e38f, -3e38f};
  for (const Gating gating : {Gating::kSoftmax, Gating::kSigmoid}) {
    for (int repeat = 0; repeat < 2000; ++repeat) {
      Case c{.logits = std::vector<float>(16),
             .n_used = 1 + static_cast<std::int64_t>(rng() % 16),
             .n_groups = 4,
             .n_groups_used = 1 + static_cast<std::int64_t>(rng() % 4),
             .group_score = rng() % 2 == 0 ? GroupScore::kMax : GroupScore::kTop2Sum,
             .gating = gating,
             .normalize = true};
      for (float& logit : c.logits) logit = specials[rng() % 9];
      const Choice got = route(c);
      for (std::size_t i = 0; i < got.ids.size(); ++i) {
        REQUIRE(got.ids[i] >= 0);
        REQUIRE(got.ids[i] < 16);
        if (i > 0) REQUIRE(got.ids[i] > got.ids[i - 1]);
      }
    }
  }
  // A NaN is chosen only when nothing else is left.
  CHECK(route({.logits = {kNaN, 1, kNaN, -4}, .n_used = 2}).ids == std::vector<std::int32_t>{1, 3});
}

TEST_CASE("router: large logits neither overflow nor vanish") {
  const Choice soft = route({.logits = {1000, 999, -1000}, .n_used = 2, .gating = Gating::kSoftmax});
  check(soft, {0, 1}, {0.7310586, 0.2689414});
  const Choice sigmoid = route({.logits = {-200, -201, -300}, .n_used = 1, .normalize = true, .scale = 2});
  CHECK(sigmoid.ids == std::vector<std::int32_t>{0});
  CHECK(std::isfinite(sigmoid.weights[0]));
}
