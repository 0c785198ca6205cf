// Expert selection from router logits, in float32 exactly as the reference computes it (DeepSeek-V3 inference/model.py,
// Gate). Ties take the lowest index. ids come out in ascending order so that sums over experts have one order. A NaN
// score counts as the smallest for the choice and shows in its weight if chosen: a NaN logit makes its own score NaN
// with sigmoid gating, all of them with softmax. ids are always distinct and in range.
// n_used <= n_experts.
#pragma once

#include <cstdint>

namespace dodeca::cpu {

inline constexpr std::int64_t kMaxExpertGroups = 256;

enum class Gating { kSoftmax, kSigmoid };
enum class GroupScore { kMax, kTop2Sum };  // V2 group_limited_greedy; V3 noaux_tc

struct RouterArgs {
  const float* logits;  // [n_experts]
  const float* bias;    // [n_experts] added for the choice only, or null
  std::int64_t n_experts, n_used;
  std::int64_t n_groups, n_groups_used;  // 1, 1: no groups; n_groups divides n_experts, <= kMaxExpertGroups
  GroupScore group_score;
  Gating gating;
  bool normalize;     // divide by the sum of the chosen (+ 1e-20)
  float scale;        // routed_scaling_factor
  std::int32_t* ids;  // [n_used] ascending
  float* weights;     // [n_used]
  float* scratch;     // [2 * n_experts]
};
void route(const RouterArgs& args) noexcept;

}  // namespace dodeca::cpu
