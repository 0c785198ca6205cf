// The feed-forward of routed experts on a device, from rows of kInput to sums of kOutput, by whatever lists rows and experts
// come in.
#pragma once

#include <array>

#include "runtime/device/device_ops.hpp"

namespace dodeca::runtime::device {

// What a device multiplies for chosen experts: the slices of three weights.
struct ExpertWeights {
  DeviceMatrix gate, up, down;
  std::array<DeviceMatrix*, 3> all() { return {&gate, &up, &down}; }
  std::array<const DeviceMatrix*, 3> all() const { return {&gate, &up, &down}; }
};
// The planned weights of a routed layer, in this order; null: the model has none.
std::array<const WeightPlan*, 3> expert_plans(const Plan& plan, const BlockPlan& block);

// Slots, each a row of an expert; the slots of a group have the same expert.
struct ExpertSlots {
  const std::int32_t* rows = nullptr;  // [n_slots] of the input
  std::int64_t n_slots = 0;
  std::int64_t n_groups = 0, group_rows = 0;  // groups, and slots of one at most
  const std::int32_t* group_begin = nullptr;  // [n_groups + 1]
  const std::int32_t* slices =
      nullptr;  // [n_groups] of the weights, negative: nothing is done; null: group g has slice g
};
// down(silu(gate x) * up x) of every slot, to the rows of kPartSums; kExpertHidden in between.
void launch_expert_products(const DeviceOps& ops, const ExpertWeights& weights, const DeviceRows& input,
                            const ExpertSlots& slots);

// Which slot a row's experts have, and the rows of kOutput that their sums are added to.
struct ExpertTerms {
  const std::int32_t* slots =
      nullptr;                      // [n_rows, used] those from `first` to `end` count, from the first row of kPartSums
  std::int32_t first = 0, end = 0;  //   on; null: row r has the slots r * used and on
  const float* weights = nullptr;   // [n_rows, used]
  std::int64_t n_used = 0;
};
// output += the terms' weighted sums, or = them.
void add_expert_terms(const DeviceOps& ops, const ExpertTerms& terms, const DeviceRows& output, std::int64_t n_rows,
                      std::int64_t n, bool accumulate);

}  // namespace dodeca::runtime::device
