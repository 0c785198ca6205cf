#include "runtime/device/device_demand.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include "gpu/kernels/cache_rows.hpp"
#include "gpu/kernels/multiply.hpp"
#include "runtime/device/device_ops.hpp"
#include "runtime/exec/block.hpp"

namespace dodeca::runtime::device {
namespace {

using enum WeightRole;
using exec::PlannedWeights;
using exec::RowBuffer;
using exec::RunSizes;

std::int64_t rows_at_once(const RunSizes& sizes) { return std::min(sizes.micro_batch, kRowsAtOnce); }

void read_by(DeviceDemand& demand, RowBuffer buffer, const WeightPlan* weight) {
  if (weight == nullptr) return;
  if (const quant::Layout* layout = device_layout(*weight)) demand.read_in(buffer, layout->act);
}

void demand_attention(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, DeviceDemand& demand) {
  const ModelConfig& c = plan.config;
  const PlannedWeights weights(plan, block);
  const std::int64_t m = rows_at_once(sizes), heads = c.n_heads, latent = c.kv_lora_rank;
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
  demand.array(DeviceArray::kPartials,
               std::min(m, kCutRows) * std::min(kMostChunks, exec::BlockTable::blocks_for(sizes.n_positions)) * heads *
                   (2 + latent),
               sizeof(float));
  if (block.decompresses) {
    const std::int64_t positions = exec::BlockTable::blocks_for(sizes.n_positions) * gpu::kCacheBlock,
                       head = c.qk_nope_head_dim + c.v_head_dim;
    demand.array(DeviceArray::kHalfQueries, sizes.micro_batch * heads * (c.qk_nope_head_dim + c.qk_rope_head_dim), 2);
    demand.array(DeviceArray::kHalfCache, positions * (latent + c.qk_rope_head_dim), 2);
    demand.array(DeviceArray::kHalfKeys, positions * decompressed_heads(c, positions) * head, 2);
  }
  demand.array(DeviceArray::kCosSin, sizes.micro_batch * c.qk_rope_head_dim, sizeof(float));
  demand.array(DeviceArray::kInvFreq, c.qk_rope_head_dim / 2, sizeof(double));
}

void demand_dense(const PlannedWeights& weights, WeightRole gate, WeightRole up, WeightRole down, const RunSizes& sizes,
                  DeviceDemand& demand) {
  const WeightPlan* w = weights[down];
  if (w == nullptr) return;
  for (const WeightRole role : {gate, up}) read_by(demand, RowBuffer::kInput, weights[role]);
  read_by(demand, RowBuffer::kDenseHidden, w);
  for (const RowBuffer buffer : {RowBuffer::kGate, RowBuffer::kUp, RowBuffer::kDenseHidden})
    demand.rows(buffer, rows_at_once(sizes), w->n_in);
}

bool multiplies_experts(const BlockPlan& block) {
  return block.experts_place == Place::kDevice || block.n_hot_experts > 0 || block.n_wave_experts > 0;
}

void demand_experts(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, DeviceDemand& demand) {
  const ModelConfig& c = plan.config;
  const PlannedWeights weights(plan, block);
  demand.rows(RowBuffer::kRouterLogits, sizes.micro_batch, c.n_routed_experts);
  read_by(demand, RowBuffer::kInput, weights[kRouter]);
  const std::int64_t slots = sizes.micro_batch * c.n_experts_per_tok;
  demand.array(DeviceArray::kExpertIds, slots, sizeof(std::int32_t));
  demand.array(DeviceArray::kExpertWeights, slots, sizeof(float));
  if (!multiplies_experts(block)) return;
  for (const WeightRole role : {kExpertGate, kExpertUp}) read_by(demand, RowBuffer::kInput, weights[role]);
  read_by(demand, RowBuffer::kExpertHidden, weights[kExpertDown]);
  // Gate is made where the hidden row will be, up where the sums will be.
  const auto demand_slots = [&](std::int64_t n) {
    demand.rows(RowBuffer::kExpertHidden, n, c.moe_intermediate_size);
    demand.rows(RowBuffer::kPartSums, n, std::max(c.hidden_size, c.moe_intermediate_size));
  };
  if (block.n_wave_experts > 0) {
    demand_slots(sizes.micro_batch);  // of one launch, so that any expert's rows find room
    for (const DeviceArray array : {DeviceArray::kStreamRows, DeviceArray::kStreamTerms})
      demand.array(array, slots, sizeof(std::int32_t));
    demand.array(DeviceArray::kStreamBegin, 2 * c.n_routed_experts, sizeof(std::int32_t));
  }
  if (block.experts_place != Place::kDevice && block.n_hot_experts == 0) return;
  const std::int64_t few_slots = std::min(sizes.micro_batch, exec::kFewRows) * c.n_experts_per_tok;
  demand.array(DeviceArray::kSlotRows, few_slots, sizeof(std::int32_t));
  demand.array(DeviceArray::kSlotBegin, few_slots + 1, sizeof(std::int32_t));
  demand_slots(few_slots);
  if (block.experts_place == Place::kDevice && sizes.micro_batch > exec::kFewRows) {
    const std::int64_t grouped = std::min(sizes.micro_batch, expert_rows_at_once(c)) * c.n_experts_per_tok;
    for (const DeviceArray array : {DeviceArray::kGroupRows, DeviceArray::kGroupSlots})
      demand.array(array, grouped, sizeof(std::int32_t));
    demand.array(DeviceArray::kGroupBegin, c.n_routed_experts + 1, sizeof(std::int32_t));
    demand_slots(grouped);
  }
  if (block.n_hot_experts == 0) return;
  for (const DeviceArray array : {DeviceArray::kHotSlots, DeviceArray::kHotTerms})
    demand.array(array, few_slots, sizeof(std::int32_t));
}

// Whether a device multiplies a weight: it is there, or some of its experts come there.
std::vector<bool> multiplied_on_device(const Plan& plan) {
  std::vector<bool> multiplied = read_on_device(plan);
  for (const BlockPlan& block : plan.blocks) {
    for (const std::size_t i : block.weights) {
      if (multiplies_experts(block) && is_routed(plan.weights[i].id.role)) multiplied[i] = true;
    }
  }
  return multiplied;
}

// Of all products, for any number of rows: more than 8 are taken 8 at a time, so that whole eights want the most. Groups of
// experts have any number of rows, waves any number of experts too; from kLeastManyRows on, types of blocks are not split.
void demand_splits(const Plan& plan, const RunSizes& sizes, std::int32_t multiprocessors, DeviceDemand& demand) {
  constexpr std::int64_t kColumns = 8;
  std::int64_t most_wave = 0;
  for (const BlockPlan& block : plan.blocks) most_wave = std::max(most_wave, block.n_wave_experts);
  std::set<std::tuple<quant::DType, std::int64_t, std::int64_t, std::int64_t, bool>> seen;  // layers are alike
  const std::vector<bool> multiplied = multiplied_on_device(plan);
  for (std::size_t i = 0; i < multiplied.size(); ++i) {
    const WeightPlan& w = plan.weights[i];
    const bool routed = is_routed(w.id.role);
    if (!multiplied[i] || device_layout(w) == nullptr ||
        !seen.insert({w.dtype, w.n_in, w.n_out, w.n_slices, routed}).second)
      continue;
    const DeviceMatrix matrix = unplaced_matrix(w);
    const auto add = [&](std::int64_t n_rows, std::int64_t n_groups) {
      const SplitSpace space = split_space(matrix, n_rows, n_groups, multiprocessors);
      demand.array(DeviceArray::kSplitSums, static_cast<std::int64_t>(space.sums), sizeof(float));
      demand.array(DeviceArray::kCounters, static_cast<std::int64_t>(space.counters), sizeof(std::uint32_t));
    };
    const std::int64_t rows = routed ? std::min(sizes.micro_batch, exec::kFewRows) : sizes.micro_batch;
    for (std::int64_t n = 1; n < rows + kColumns; n += n < kColumns || routed ? 1 : kColumns) {
      if (routed)
        add(1, n * plan.config.n_experts_per_tok);
      else
        add(n, w.n_slices);
    }
    if (!routed) continue;
    for (std::int64_t n = 1; n < std::min(sizes.micro_batch, expert_rows_at_once(plan.config)) + kColumns;
         n += n < kColumns ? 1 : kColumns)
      add(n, w.n_slices);
    for (std::int64_t experts = 1; experts <= most_wave; ++experts) {
      for (std::int64_t n = 1; n < sizes.micro_batch + kColumns; n += n < kColumns ? 1 : kColumns) add(n, experts);
    }
  }
}

}  // namespace

void DeviceDemand::rows(RowBuffer buffer, std::int64_t n_rows, std::int64_t width) {
  Rows& rows = rows_[static_cast<std::size_t>(buffer)];
  rows.n_rows = std::max(rows.n_rows, n_rows);
  rows.width = std::max(rows.width, width);
}

void DeviceDemand::read_in(RowBuffer buffer, quant::ActFormat format) {
  rows_[static_cast<std::size_t>(buffer)].formats.add(format);
}

void DeviceDemand::array(DeviceArray array, std::int64_t n, std::size_t element_bytes) {
  std::uint64_t& bytes = arrays_[static_cast<std::size_t>(array)];
  bytes = std::max(bytes, static_cast<std::uint64_t>(n) * element_bytes);
}

std::uint64_t DeviceDemand::bytes() const {
  std::uint64_t sum = 0;
  for (const Rows& rows : rows_) sum += RowsLayout(rows).bytes;
  for (const std::uint64_t bytes : arrays_) sum += aligned(bytes);
  return sum;
}

const quant::Layout* device_layout(const WeightPlan& weight) {
  if (weight.layout == nullptr || quant::find_layout(weight.dtype, quant::LayoutKind::kTiles16) == nullptr)
    return nullptr;
  const quant::DType dtype = weight.storage == Storage::kReference ? quant::DType::kF32 : weight.dtype;
  return gpu::can_multiply(dtype) ? quant::find_layout(dtype, quant::LayoutKind::kTiles16) : nullptr;
}

std::uint64_t device_weight_bytes(const WeightPlan& weight) {
  if (weight.layout == nullptr)
    return aligned(static_cast<std::uint64_t>(weight.n_in * weight.n_out * weight.n_slices) * sizeof(float));
  if (device_layout(weight) == nullptr) return 0;
  const DeviceMatrix matrix = unplaced_matrix(weight);
  return aligned(matrix.slice_bytes * static_cast<std::uint64_t>(matrix.n_slices));
}

std::int64_t expert_rows_at_once(const ModelConfig& c) {
  // A block for every expert and every 8 rows, where the type has no kernel for more.
  constexpr std::int64_t kMostRows = 1024, kMostBlocks = 65535, kColumns = 8;
  return std::min(kMostRows, kMostBlocks / std::max<std::int64_t>(1, c.n_routed_experts) * kColumns);
}

std::uint64_t decompression_bytes(const ModelConfig& c) {
  return aligned(2 * static_cast<std::uint64_t>(c.n_heads * (c.qk_nope_head_dim + c.v_head_dim) * c.kv_lora_rank));
}

std::int64_t decompressed_heads(const ModelConfig& c, std::int64_t n_positions) {
  constexpr std::int64_t kBytes = std::int64_t{256} << 20;
  const std::int64_t each = 2 * n_positions * (c.qk_nope_head_dim + c.v_head_dim);
  return std::clamp<std::int64_t>(kBytes / std::max<std::int64_t>(1, each), 1, c.n_heads);
}

DeviceDemand device_demand(const Plan& plan, const RunSizes& sizes, std::int32_t multiprocessors) {
  const ModelConfig& c = plan.config;
  DeviceDemand demand;
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
        demand_dense(weights, kGate, kUp, kDown, sizes, demand);
        break;
      case BlockKind::kMoeFfn:
        demand_experts(plan, block, sizes, demand);
        demand_dense(weights, kSharedGate, kSharedUp, kSharedDown, sizes, demand);
        break;
      case BlockKind::kHead:
        read_by(demand, RowBuffer::kHeadInput, weights[c.tied_embeddings ? kEmbedding : kOutput]);
        demand.rows(RowBuffer::kHeadInput, kLogitRows, c.hidden_size);
        demand.array(DeviceArray::kLogits, kLogitRows * c.vocab_size, sizeof(float));
        break;
      default:
        break;
    }
  }
  if (!any) return demand;
  demand_splits(plan, sizes, multiprocessors, demand);
  for (const RowBuffer buffer : {RowBuffer::kResidual, RowBuffer::kInput, RowBuffer::kOutput})
    demand.rows(buffer, sizes.micro_batch, c.hidden_size);
  for (const DeviceArray array : {DeviceArray::kPositions, DeviceArray::kSequences})
    demand.array(array, sizes.micro_batch, sizeof(std::int32_t));
  demand.array(DeviceArray::kBlockTable, sizes.n_sequences * exec::BlockTable::blocks_for(sizes.n_positions),
               sizeof(std::int32_t));
  return demand;
}

}  // namespace dodeca::runtime::device
