#include "runtime/device/device_ffn.hpp"

#include "gpu/kernels/find_slots.hpp"
#include "gpu/kernels/group_pairs.hpp"
#include "gpu/kernels/route_rows.hpp"
#include "runtime/exec/pass.hpp"

namespace dodeca::runtime::device {
namespace {

using enum WeightRole;
using exec::RowBuffer;
using gpu::KernelId;

ExpertSlots slots_of_pairs(const DeviceSpace& space, std::int64_t n, const std::int32_t* slices) {
  return {.rows = space.array<std::int32_t>(DeviceArray::kSlotRows),
          .n_slots = n,
          .n_groups = n,
          .group_rows = 1,
          .group_begin = space.array<std::int32_t>(DeviceArray::kSlotBegin),
          .slices = slices};
}

}  // namespace

DeviceDense::DeviceDense(const BlockPlan& plan, const DeviceWeights& weights, WeightRole gate, WeightRole up,
                         WeightRole down)
    : gate_(weights.matrix({gate, plan.layer})),
      up_(weights.matrix({up, plan.layer})),
      down_(weights.matrix({down, plan.layer})) {}

void DeviceDense::launch(const DeviceOps& ops, std::int64_t n) const {
  const DeviceSpace& space = ops.space();
  const DeviceRows &input = space.rows(RowBuffer::kInput), &gate = space.rows(RowBuffer::kGate),
                   &up = space.rows(RowBuffer::kUp), &hidden = space.rows(RowBuffer::kDenseHidden),
                   &output = space.rows(RowBuffer::kOutput);
  for_row_ranges({0, n}, [&](RowRange rows) {
    const DeviceRows acts = input.from(rows.first);
    ops.multiply({.weight = gate_, .acts = acts, .out = gate.rows, .out_stride = gate.stride, .n_rows = rows.n});
    ops.multiply({.weight = up_, .acts = acts, .out = up.rows, .out_stride = up.stride, .n_rows = rows.n});
    ops.swiglu(gate, up, hidden, rows.n, down_.n_in);
    ops.multiply({.weight = down_,
                  .acts = hidden,
                  .out = output.from(rows.first).rows,
                  .out_stride = output.stride,
                  .n_rows = rows.n,
                  .with_factors = false});
  });
}

DeviceFfn::DeviceFfn(const ModelConfig& config, const BlockPlan& plan, const DeviceWeights& weights,
                     const HotExperts::Layer* hot)
    : config_(config),
      norm_(weights.vector({kFfnNorm, plan.layer})),
      router_bias_(weights.vector({kRouterBias, plan.layer})),
      router_(weights.matrix({kRouter, plan.layer})),
      experts_{weights.matrix({kExpertGate, plan.layer}), weights.matrix({kExpertUp, plan.layer}),
               weights.matrix({kExpertDown, plan.layer})},
      hot_(hot),
      dense_(plan.kind == BlockKind::kDenseFfn ? DeviceDense(plan, weights, kGate, kUp, kDown)
                                               : DeviceDense(plan, weights, kSharedGate, kSharedUp, kSharedDown)) {}

void DeviceFfn::begin(const DeviceOps& ops, std::int64_t n, const DeviceRows* addition) const {
  ops.normalize_residual(config_, norm_, n, addition);
  if (router_) route(ops, n);
}

void DeviceFfn::route(const DeviceOps& ops, std::int64_t n) const {
  const DeviceSpace& space = ops.space();
  const DeviceRows& logits = space.rows(RowBuffer::kRouterLogits);
  ops.multiply({.weight = router_,
                .acts = space.rows(RowBuffer::kInput),
                .out = logits.rows,
                .out_stride = logits.stride,
                .n_rows = n});
  const ModelConfig& c = config_;
  const gpu::RouteRowsArgs args{
      .logits = logits.rows,
      .bias = router_bias_,
      .ids = space.array<std::int32_t>(DeviceArray::kExpertIds),
      .weights = space.array<float>(DeviceArray::kExpertWeights),
      .logits_stride = logits.stride,
      .n_rows = static_cast<std::int32_t>(n),
      .n_experts = static_cast<std::int32_t>(c.n_routed_experts),
      .n_used = static_cast<std::int32_t>(c.n_experts_per_tok),
      .n_groups = static_cast<std::int32_t>(c.n_group),
      .n_groups_used = static_cast<std::int32_t>(c.topk_group),
      .group_score =
          c.group_score == GroupScoreKind::kMax ? gpu::RouteGroupScore::kMax : gpu::RouteGroupScore::kTop2Sum,
      .gating = c.gating == GatingKind::kSigmoid ? gpu::RouteGating::kSigmoid : gpu::RouteGating::kSoftmax,
      // Softmax over the chosen logits equals softmax over all, renormalized over the chosen.
      .normalize = c.norm_topk_prob || c.gating == GatingKind::kSoftmaxSelected,
      .scale = static_cast<float>(c.routed_scaling_factor)};
  ops.device().launch<KernelId::route_rows>(ops.stream(), gpu::route_rows_grid(args), args);
}

bool DeviceFfn::launch_dense(const DeviceOps& ops, std::int64_t n) const {
  if (!dense_) return false;
  dense_.launch(ops, n);
  return true;
}

// Few rows: every (row, expert) pair is a group of one slot, which has the expert's slice. Many: an expert's rows are a group.
void DeviceFfn::launch_experts(const DeviceOps& ops, std::int64_t n, bool accumulate) const {
  const DeviceSpace& space = ops.space();
  const std::int64_t used = config_.n_experts_per_tok;
  const auto* ids = space.array<std::int32_t>(DeviceArray::kExpertIds);
  const auto* weights = space.array<float>(DeviceArray::kExpertWeights);
  if (n <= exec::kFewRows) {
    launch_expert_products(ops, experts_, space.rows(RowBuffer::kInput), slots_of_pairs(space, n * used, ids));
    return add_expert_terms(ops, {.weights = weights, .n_used = used}, space.rows(RowBuffer::kOutput), n,
                            config_.hidden_size, accumulate);
  }
  const auto group = [&](RowRange rows) {
    const gpu::GroupPairsArgs args{.ids = ids + rows.first * used,
                                   .rows = space.array<std::int32_t>(DeviceArray::kGroupRows),
                                   .begin = space.array<std::int32_t>(DeviceArray::kGroupBegin),
                                   .slots = space.array<std::int32_t>(DeviceArray::kGroupSlots),
                                   .n_pairs = static_cast<std::int32_t>(rows.n * used),
                                   .n_used = static_cast<std::int32_t>(used),
                                   .n_experts = static_cast<std::int32_t>(config_.n_routed_experts)};
    ops.device().launch<KernelId::group_pairs>(ops.stream(), gpu::group_pairs_grid(args), args);
    launch_expert_products(ops, experts_, space.rows(RowBuffer::kInput).from(rows.first),
                           {.rows = args.rows,
                            .n_slots = rows.n * used,
                            .n_groups = config_.n_routed_experts,
                            .group_rows = rows.n,
                            .group_begin = args.begin});
    add_expert_terms(ops,
                     {.slots = args.slots, .end = args.n_pairs, .weights = weights + rows.first * used, .n_used = used},
                     space.rows(RowBuffer::kOutput).from(rows.first), rows.n, config_.hidden_size, accumulate);
  };
  for_row_ranges({0, n}, group, expert_rows_at_once(config_));
}

void DeviceFfn::launch_hot_experts(const DeviceOps& ops, std::int64_t n) const {
  const DeviceSpace& space = ops.space();
  const std::int64_t used = config_.n_experts_per_tok;
  const gpu::FindSlotsArgs args{.ids = space.array<std::int32_t>(DeviceArray::kExpertIds),
                                .slot_of = hot_->slot_of,
                                .slots = space.array<std::int32_t>(DeviceArray::kHotSlots),
                                .terms = space.array<std::int32_t>(DeviceArray::kHotTerms),
                                .n = static_cast<std::int32_t>(n * used)};
  ops.device().launch<KernelId::find_slots>(ops.stream(), gpu::find_slots_grid(args), args);
  launch_expert_products(ops, hot_->weights, space.rows(RowBuffer::kInput),
                         slots_of_pairs(space, n * used, args.slots));
  add_expert_terms(
      ops,
      {.slots = args.terms, .end = args.n, .weights = space.array<float>(DeviceArray::kExpertWeights), .n_used = used},
      space.rows(RowBuffer::kOutput), n, config_.hidden_size, true);
}

}  // namespace dodeca::runtime::device
