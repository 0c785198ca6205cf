#include "gpu/kernels/route_rows.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "cpu/kernels/router/router.hpp"
#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();

struct Rules {
  std::int32_t n_experts = 1, n_used = 1, n_groups = 1, n_groups_used = 1;
  RouteGroupScore group_score = RouteGroupScore::kMax;
  RouteGating gating = RouteGating::kSigmoid;
  bool normalize = false;
  float scale = 1;
};

// The device's choice for rows of logits is the processor's, bit by bit.
void check_rows(Device& device, const Rules& rules, const std::vector<float>& logits, const std::vector<float>& bias) {
  const auto n = static_cast<std::size_t>(rules.n_experts), used = static_cast<std::size_t>(rules.n_used),
             n_rows = logits.size() / n;
  const OnDevice<float> device_logits(device, logits), device_bias(device, bias), weights(device, n_rows * used);
  const OnDevice<std::int32_t> ids(device, n_rows * used);
  const RouteRowsArgs args{.logits = device_logits.data(),
                           .bias = bias.empty() ? nullptr : device_bias.data(),
                           .ids = ids.data(),
                           .weights = weights.data(),
                           .logits_stride = rules.n_experts,
                           .n_rows = static_cast<std::int32_t>(n_rows),
                           .n_experts = rules.n_experts,
                           .n_used = rules.n_used,
                           .n_groups = rules.n_groups,
                           .n_groups_used = rules.n_groups_used,
                           .group_score = rules.group_score,
                           .gating = rules.gating,
                           .normalize = rules.normalize,
                           .scale = rules.scale};
  device.launch<KernelId::route_rows>(ids.stream(), route_rows_grid(args), args);
  const std::vector<std::int32_t> got_ids = ids.values();
  const std::vector<float> got_weights = weights.values();
  for (std::size_t row = 0; row < n_rows; ++row) {
    CAPTURE(row);
    std::vector<std::int32_t> want_ids(used);
    std::vector<float> want_weights(used), scratch(2 * n);
    const bool max = rules.group_score == RouteGroupScore::kMax, softmax = rules.gating == RouteGating::kSoftmax;
    cpu::route({.logits = logits.data() + row * n,
                .bias = bias.empty() ? nullptr : bias.data(),
                .n_experts = rules.n_experts,
                .n_used = rules.n_used,
                .n_groups = rules.n_groups,
                .n_groups_used = rules.n_groups_used,
                .group_score = max ? cpu::GroupScore::kMax : cpu::GroupScore::kTop2Sum,
                .gating = softmax ? cpu::Gating::kSoftmax : cpu::Gating::kSigmoid,
                .normalize = rules.normalize,
                .scale = rules.scale,
                .ids = want_ids.data(),
                .weights = want_weights.data(),
                .scratch = scratch.data()});
    CHECK(std::vector(got_ids.begin() + row * used, got_ids.begin() + (row + 1) * used) == want_ids);
    for (std::size_t i = 0; i < used; ++i) {
      const float got = got_weights[row * used + i];
      CHECK((want_weights[i] != want_weights[i] ? got != got : std::memcmp(&got, &want_weights[i], 4) == 0));
    }
  }
}

}  // namespace

TEST_CASE("route_rows: published shapes") {
  using enum RouteGating;
  using enum RouteGroupScore;
  const Rules shapes[] = {
      {256, 8, 8, 4, kTop2Sum, kSigmoid, true, 2.5f}, {160, 6, 8, 3, kMax, kSoftmax, false, 16.0f},
      {64, 6, 1, 1, kMax, kSoftmax, false, 1.0f},     {384, 8, 1, 1, kMax, kSigmoid, true, 2.827f},
      {100, 4, 5, 2, kTop2Sum, kSigmoid, true, 1.0f}, {288, 288, 96, 96, kMax, kSoftmax, true, 1.0f},
      {1, 1, 1, 1, kMax, kSigmoid, true, 1.0f},
  };
  for_each_emulation([&](Device& device) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0.0f, 2.0f);
    for (const Rules& rules : shapes) {
      CAPTURE(rules.n_experts);
      std::vector<float> logits(static_cast<std::size_t>(rules.n_experts) * 2), bias;
      for (float& logit : logits) logit = normal(random);
      for (std::int32_t e = 0; rules.gating == kSigmoid && e < rules.n_experts; ++e)
        bias.push_back(0.1f * normal(random));
      check_rows(device, rules, logits, bias);
    }
  });
}

TEST_CASE("route_rows: as many experts and groups as there may be") {
  const std::unique_ptr<Device> device = open_test_device({.order = emulation::Order::kShuffled});
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::vector<float> logits(kMostRoutedExperts);
  for (float& logit : logits) logit = normal(random);
  check_rows(*device,
             {.n_experts = kMostRoutedExperts,
              .n_used = 512,
              .n_groups = kMostExpertGroups,
              .n_groups_used = 200,
              .gating = RouteGating::kSoftmax,
              .normalize = true},
             logits, {});
}

TEST_CASE("route_rows: ties, NaN and infinities, under all rules") {
  for_each_emulation([](Device& device) {
    std::mt19937 random(6);
    const float values[] = {0, 1, -1, 0.5f, 1, 0, 3e38f, -3e38f, kNaN, -kNaN, kInf, -kInf};
    for (int repeat = 0; repeat < 40; ++repeat) {
      const unsigned n_values = repeat % 2 == 0 ? 6 : 12;  // ties alone, or all
      std::vector<float> logits(16 * 8), bias;
      for (float& logit : logits) logit = values[random() % n_values];
      for (int e = 0; repeat % 3 == 0 && e < 16; ++e) bias.push_back(values[random() % 4]);
      check_rows(device,
                 {.n_experts = 16,
                  .n_used = 1 + static_cast<std::int32_t>(random() % 16),
                  .n_groups = 4,
                  .n_groups_used = 1 + static_cast<std::int32_t>(random() % 4),
                  .group_score = random() % 2 == 0 ? RouteGroupScore::kMax : RouteGroupScore::kTop2Sum,
                  .gating = random() % 2 == 0 ? RouteGating::kSoftmax : RouteGating::kSigmoid,
                  .normalize = random() % 2 == 0},
                 logits, bias);
    }
  });
}

}  // namespace dodeca::gpu
