#include "runtime/device/device_ffn.hpp"

#include "gpu/kernels/add_weighted_rows.hpp"
#include "gpu/kernels/find_slots.hpp"
#include "gpu/kernels/route_rows.hpp"

namespace dodeca::runtime::device {
namespace {

using enum WeightRole;
using exec::RowBuffer;
using gpu::KernelId;

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
  ops.multiply({.weight = gate_, .acts = input, .out = gate.rows, .out_stride = gate.stride, .n_rows = n});
  ops.multiply({.weight = up_, .acts = input, .out = up.rows, .out_stride = up.stride, .n_rows = n});
  ops.swiglu(gate, up, hidden, n, down_.n_in);
  ops.multiply({.weight = down_,
                .acts = hidden,
                .out = output.rows,
                .out_stride = output.stride,
                .n_rows = n,
                .with_factors = false});
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

void DeviceFfn::launch_experts(const DeviceOps& ops, std::int64_t n, bool accumulate) const {
  launch(ops, n,
         {.weights = experts_, .slices = ops.space().array<std::int32_t>(DeviceArray::kExpertIds), .terms = nullptr},
         accumulate);
}

void DeviceFfn::launch_hot_experts(const DeviceOps& ops, std::int64_t n) const {
  const DeviceSpace& space = ops.space();
  const gpu::FindSlotsArgs args{.ids = space.array<std::int32_t>(DeviceArray::kExpertIds),
                                .slot_of = hot_->slot_of,
                                .slots = space.array<std::int32_t>(DeviceArray::kHotSlots),
                                .terms = space.array<std::int32_t>(DeviceArray::kHotTerms),
                                .n = static_cast<std::int32_t>(n * config_.n_experts_per_tok)};
  ops.device().launch<KernelId::find_slots>(ops.stream(), gpu::find_slots_grid(args), args);
  launch(ops, n, {.weights = hot_->weights, .slices = args.slots, .terms = args.terms}, true);
}

// Every (row, expert) pair is a group of one row, which has the expert's slice.
void DeviceFfn::launch(const DeviceOps& ops, std::int64_t n, const Chosen& chosen, bool accumulate) const {
  const DeviceSpace& space = ops.space();
  const std::int64_t used = config_.n_experts_per_tok, slots = n * used;
  const auto& [gate_weight, up_weight, down_weight] = chosen.weights;
  const DeviceRows &hidden = space.rows(RowBuffer::kExpertHidden), &sums = space.rows(RowBuffer::kPartSums),
                   &gate = hidden, &up = sums,  // each is read before it is written anew

                                       &output = space.rows(RowBuffer::kOutput);
  const auto multiply = [&](const DeviceMatrix& weight, const DeviceRows& acts, const DeviceRows& out, bool by_row) {
    ops.multiply({.weight = weight,
                  .acts = acts,
                  .out = out.rows,
                  .out_stride = out.stride,
                  .n_rows = 1,
                  .with_factors = by_row,
                  .act_rows = by_row ? space.array<std::int32_t>(DeviceArray::kSlotRows) : nullptr,
                  .n_groups = slots,
                  .slices = chosen.slices,
                  .group_begin = space.array<std::int32_t>(DeviceArray::kSlotBegin)});
  };
  multiply(gate_weight, space.rows(RowBuffer::kInput), gate, true);
  multiply(up_weight, space.rows(RowBuffer::kInput), up, true);
  ops.swiglu(gate, up, hidden, slots, down_weight.n_in);
  multiply(down_weight, hidden, sums, false);
  const gpu::AddWeightedRowsArgs args{.out = output.rows,
                                      .in = sums.rows,
                                      .weights = space.array<float>(DeviceArray::kExpertWeights),
                                      .indices = chosen.terms,
                                      .out_stride = output.stride,
                                      .in_stride = sums.stride,
                                      .n_rows = static_cast<std::int32_t>(n),
                                      .n_terms = static_cast<std::int32_t>(used),
                                      .n = static_cast<std::int32_t>(config_.hidden_size),
                                      .accumulate = accumulate};
  ops.device().launch<KernelId::add_weighted_rows>(ops.stream(), gpu::add_weighted_rows_grid(args), args);
}

}  // namespace dodeca::runtime::device
