#include "cpu/kernels/router/router.hpp"

#include <algorithm>
#include <limits>

#include "cpu/kernels/exp_scalar.hpp"

namespace dodeca::cpu {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

void score(const RouterArgs& a, float* s) {
  if (a.gating == Gating::kSigmoid) {
    for (std::int64_t e = 0; e < a.n_experts; ++e) s[e] = 1.0f / (1.0f + scalar::exp_one(-a.logits[e]));
    return;
  }
  float max = kNone;
  for (std::int64_t e = 0; e < a.n_experts; ++e) max = std::max(max, a.logits[e]);
  float sum = 0.0f;
  for (std::int64_t e = 0; e < a.n_experts; ++e) {
    s[e] = scalar::exp_one(a.logits[e] - max);
    sum += s[e];
  }
  for (std::int64_t e = 0; e < a.n_experts; ++e) s[e] /= sum;
}

float group_score(const RouterArgs& a, const float* choice, std::int64_t size) {
  float first = kNone, second = kNone;
  for (std::int64_t e = 0; e < size; ++e) {
    if (choice[e] > first) {
      second = first;
      first = choice[e];
    } else if (choice[e] > second) {
      second = choice[e];
    }
  }
  return a.group_score == GroupScore::kMax || size < 2 ? first : first + second;
}

// Whether value[i] is among the n largest; ties take the lower index. A rank by counting has no order to get wrong.
bool among_largest(const float* value, std::int64_t count, std::int64_t i, std::int64_t n) {
  std::int64_t better = 0;
  for (std::int64_t j = 0; j < count; ++j) better += value[j] > value[i] || (value[j] == value[i] && j < i);
  return better < n;
}

// Masks the groups that are not kept.
void keep_groups(const RouterArgs& a, float* choice) {
  if (a.n_groups <= 1 || a.n_groups_used >= a.n_groups) return;
  const std::int64_t size = a.n_experts / a.n_groups;
  float scores[kMaxExpertGroups];
  for (std::int64_t g = 0; g < a.n_groups; ++g) scores[g] = group_score(a, choice + g * size, size);
  for (std::int64_t g = 0; g < a.n_groups; ++g) {
    if (!among_largest(scores, a.n_groups, g, a.n_groups_used)) std::fill_n(choice + g * size, size, kNone);
  }
}

// The n_used largest choices, kept sorted by (value, index) while scanning; most experts fail the first comparison.
void select(const RouterArgs& a, const float* choice) {
  std::int64_t n = 0;
  for (std::int64_t e = 0; e < a.n_experts; ++e) {
    if (n == a.n_used && !(choice[e] > choice[a.ids[n - 1]])) continue;
    std::int64_t at = n < a.n_used ? n++ : n - 1;
    for (; at > 0 && choice[e] > choice[a.ids[at - 1]]; --at) a.ids[at] = a.ids[at - 1];
    a.ids[at] = static_cast<std::int32_t>(e);
  }
  std::sort(a.ids, a.ids + a.n_used);
}

}  // namespace

void route(const RouterArgs& a) noexcept {
  if (a.n_used < 1) return;
  float* scores = a.scratch;
  float* choice = a.scratch + a.n_experts;
  score(a, scores);
  for (std::int64_t e = 0; e < a.n_experts; ++e) {
    const float value = a.bias != nullptr ? scores[e] + a.bias[e] : scores[e];
    choice[e] = value == value ? value : kNone;  // NaN must not win, nor stop others from winning
  }
  keep_groups(a, choice);
  select(a, choice);
  float sum = 0.0f;
  for (std::int64_t i = 0; i < a.n_used; ++i) {
    a.weights[i] = scores[a.ids[i]];
    sum += a.weights[i];
  }
  for (std::int64_t i = 0; i < a.n_used; ++i) {
    if (a.normalize) a.weights[i] /= sum + 1e-20f;
    a.weights[i] *= a.scale;
  }
}

}  // namespace dodeca::cpu
