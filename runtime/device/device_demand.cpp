#include "runtime/device/device_demand.hpp"

#include <algorithm>

#include "runtime/exec/block.hpp"

namespace dodeca::runtime::device {
namespace {

using enum WeightRole;
using exec::ArrayBuffer;
using exec::Demand;
using exec::PlannedWeights;
using exec::RowBuffer;
using exec::RunSizes;

// Types that gpu/kernels multiply.
bool has_product(quant::DType dtype) {
  static constexpr quant::DType kTypes[] = {
      quant::DType::kF32,  quant::DType::kF16,  quant::DType::kBF16, quant::DType::kQ4_0,   quant::DType::kQ8_0,
      quant::DType::kQ4_K, quant::DType::kQ5_K, quant::DType::kQ6_K, quant::DType::kIQ4_NL, quant::DType::kIQ4_XS};
  return std::ranges::find(kTypes, dtype) != std::end(kTypes);
}

void read_by(Demand& demand, RowBuffer buffer, const WeightPlan* weight) {
  if (weight == nullptr) return;
  if (const quant::Layout* layout = device_layout(*weight)) demand.read_in(buffer, layout->act);
}

void demand_attention(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  const ModelConfig& c = plan.config;
  const PlannedWeights weights(plan, block);
  const std::int64_t m = sizes.micro_batch, heads = c.n_heads, latent = c.kv_lora_rank;
  for (const WeightRole role : {kQ, kQA, kKvA}) read_by(demand, RowBuffer::kInput, weights[role]);
  read_by(demand, RowBuffer::kQA, weights[kQB]);
  read_by(demand, RowBuffer::kQuery, weights[kKB]);
  read_by(demand, RowBuffer::kLatent, weights[kVB]);
  read_by(demand, RowBuffer::kHeads, weights[kAttentionOutput]);
  demand.rows(RowBuffer::kQA, m, c.q_lora_rank);
  demand.rows(RowBuffer::kKv, m, latent + c.qk_rope_head_dim);
  demand.rows(RowBuffer::kQuery, m * heads, c.qk_nope_head_dim + c.qk_rope_head_dim);
  demand.rows(RowBuffer::kAbsorbedQuery, m * heads, latent + c.qk_rope_head_dim);
  demand.rows(RowBuffer::kLatent, m * heads, latent);
  demand.rows(RowBuffer::kHeads, m, heads * c.v_head_dim);
  demand.array(ArrayBuffer::kPartials, std::min(m, kCutRows) * kMostChunks * heads * (2 + latent), sizeof(float));
}

void demand_dense(const PlannedWeights& weights, WeightRole gate, WeightRole down, const RunSizes& sizes,
                  Demand& demand) {
  const WeightPlan* w = weights[down];
  if (w == nullptr) return;
  read_by(demand, RowBuffer::kInput, weights[gate]);
  read_by(demand, RowBuffer::kDenseHidden, w);
  for (const RowBuffer buffer : {RowBuffer::kGate, RowBuffer::kUp, RowBuffer::kDenseHidden})
    demand.rows(buffer, sizes.micro_batch, w->n_in);
}

void demand_experts(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  const ModelConfig& c = plan.config;
  const PlannedWeights weights(plan, block);
  demand.rows(RowBuffer::kRouterLogits, sizes.micro_batch, c.n_routed_experts);
  read_by(demand, RowBuffer::kInput, weights[kRouter]);
  const std::int64_t slots = sizes.micro_batch * c.n_experts_per_tok;
  demand.array(ArrayBuffer::kExpertIds, slots, sizeof(std::int32_t));
  demand.array(ArrayBuffer::kExpertWeights, slots, sizeof(float));
  if (block.experts_place != Place::kDevice) return;
  read_by(demand, RowBuffer::kInput, weights[kExpertGate]);
  read_by(demand, RowBuffer::kExpertHidden, weights[kExpertDown]);
  for (const RowBuffer buffer : {RowBuffer::kGate, RowBuffer::kUp, RowBuffer::kExpertHidden})
    demand.rows(buffer, slots, c.moe_intermediate_size);
  demand.rows(RowBuffer::kPartSums, slots, c.hidden_size);
}

}  // namespace

const quant::Layout* device_layout(const WeightPlan& weight) {
  if (weight.layout == nullptr || quant::find_layout(weight.dtype, quant::LayoutKind::kTiles16) == nullptr)
    return nullptr;
  const quant::DType dtype = weight.storage == Storage::kReference ? quant::DType::kF32 : weight.dtype;
  return has_product(dtype) ? quant::find_layout(dtype, quant::LayoutKind::kTiles16) : nullptr;
}

std::uint64_t device_weight_bytes(const WeightPlan& weight) {
  if (weight.layout == nullptr)
    return static_cast<std::uint64_t>(weight.n_in * weight.n_out * weight.n_slices) * sizeof(float);
  const quant::Layout* layout = device_layout(weight);
  if (layout == nullptr) return 0;
  const std::int64_t tiles = (weight.n_out + quant::kTileRows - 1) / quant::kTileRows * weight.n_slices;
  return static_cast<std::uint64_t>(tiles) * layout->tile_bytes(weight.n_in);
}

Demand device_demand(const Plan& plan, const RunSizes& sizes) {
  const ModelConfig& c = plan.config;
  Demand demand;
  bool any = false;
  for (const BlockPlan& block : plan.blocks) {
    if (block.place != Place::kDevice) continue;
    any = true;
    const PlannedWeights weights(plan, block);
    switch (block.kind) {
      case BlockKind::kMlaAttention:
        demand_attention(plan, block, sizes, demand);
        break;
      case BlockKind::kDenseFfn:
        demand_dense(weights, kGate, kDown, sizes, demand);
        break;
      case BlockKind::kMoeFfn:
        demand_experts(plan, block, sizes, demand);
        demand_dense(weights, kSharedGate, kSharedDown, sizes, demand);
        break;
      case BlockKind::kHead:
        read_by(demand, RowBuffer::kHeadInput, weights[c.tied_embeddings ? kEmbedding : kOutput]);
        demand.rows(RowBuffer::kHeadInput, kLogitRows, c.hidden_size);
        demand.array(ArrayBuffer::kLogits, kLogitRows * c.vocab_size, sizeof(float));
        break;
      default:
        break;
    }
  }
  if (!any) return demand;
  for (const RowBuffer buffer : {RowBuffer::kResidual, RowBuffer::kInput, RowBuffer::kOutput})
    demand.rows(buffer, sizes.micro_batch, c.hidden_size);
  demand.array(ArrayBuffer::kAngles, sizes.micro_batch * c.rope.dim, sizeof(float));
  return demand;
}

}  // namespace dodeca::runtime::device
