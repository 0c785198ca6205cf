#include "runtime/device/expert_products.hpp"

#include "gpu/kernels/add_weighted_rows.hpp"
#include "runtime/exec/block.hpp"

namespace dodeca::runtime::device {

using exec::RowBuffer;
using gpu::KernelId;

std::array<const WeightPlan*, 3> expert_plans(const Plan& plan, const BlockPlan& block) {
  const exec::PlannedWeights weights(plan, block);
  return {weights[WeightRole::kExpertGate], weights[WeightRole::kExpertUp], weights[WeightRole::kExpertDown]};
}

void launch_expert_products(const DeviceOps& ops, const ExpertWeights& weights, const DeviceRows& input,
                            const ExpertSlots& slots) {
  const DeviceRows &hidden = ops.space().rows(RowBuffer::kExpertHidden), &sums = ops.space().rows(RowBuffer::kPartSums),
                   &gate = hidden, &up = sums;  // each is read before it is written anew
  const auto multiply = [&](const DeviceMatrix& weight, const DeviceRows& acts, const DeviceRows& out, bool by_row) {
    ops.multiply({.weight = weight,
                  .acts = acts,
                  .out = out.rows,
                  .out_stride = out.stride,
                  .n_rows = slots.group_rows,
                  .with_factors = by_row,
                  .act_rows = by_row ? slots.rows : nullptr,
                  .n_groups = slots.n_groups,
                  .slices = slots.slices,
                  .group_begin = slots.group_begin});
  };
  multiply(weights.gate, input, gate, true);
  multiply(weights.up, input, up, true);
  ops.swiglu(gate, up, hidden, slots.n_slots, weights.down.n_in);
  multiply(weights.down, hidden, sums, false);
}

void add_expert_terms(const DeviceOps& ops, const ExpertTerms& terms, const DeviceRows& output, std::int64_t n_rows,
                      std::int64_t n, bool accumulate) {
  const DeviceRows& sums = ops.space().rows(RowBuffer::kPartSums);
  const gpu::AddWeightedRowsArgs args{.out = output.rows,
                                      .in = sums.rows,
                                      .weights = terms.weights,
                                      .indices = terms.slots,
                                      .first_index = terms.first,
                                      .end_index = terms.end,
                                      .out_stride = output.stride,
                                      .in_stride = sums.stride,
                                      .n_rows = static_cast<std::int32_t>(n_rows),
                                      .n_terms = static_cast<std::int32_t>(terms.n_used),
                                      .n = static_cast<std::int32_t>(n),
                                      .accumulate = accumulate};
  ops.device().launch<KernelId::add_weighted_rows>(ops.stream(), gpu::add_weighted_rows_grid(args), args);
}

}  // namespace dodeca::runtime::device
