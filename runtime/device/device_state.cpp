#include "runtime/device/device_state.hpp"

#include <algorithm>

#include "gpu/kernels/rope.hpp"

namespace dodeca::runtime::device {

using exec::ArrayBuffer;
using exec::Pass;
using exec::RowBuffer;
using gpu::KernelId;

DeviceState::DeviceState(std::shared_ptr<gpu::Device> d, const Plan& p, const Offload& o)
    : device(std::move(d)),
      plan(p),
      offload(o),
      stream(device->make_stream()),
      multiprocessors(std::max(1, device->info().multiprocessors)),
      weights(*device, stream, plan, offload.cache_type == quant::DType::kF16),
      hot(*device, stream, plan),
      streamed(*device, stream, plan, offload) {}

std::vector<std::int64_t> DeviceState::attention_layers() const {
  std::vector<std::int64_t> layers;
  for (const BlockPlan& block : plan.blocks) {
    if (block.kind == BlockKind::kMlaAttention && block.place == Place::kDevice) layers.push_back(block.layer);
  }
  return layers;
}

void DeviceState::end_executor() {
  if (meeting != nullptr) meeting->drain(stream);
  segments.clear();
  attention.clear();
  ffn.clear();
  ops.reset();
  space.reset();
  meeting.reset();
}

DeviceState::Ranges DeviceState::begin_executor(const exec::RunSizes& sizes, exec::KvCache& its_cache,
                                                exec::Workspace& host) {
  end_executor();
  meeting = std::make_unique<Meeting>(*device, sizes);
  space.emplace(*device, stream, device_demand(plan, sizes, multiprocessors));
  ops.emplace(*device, stream, *space, multiprocessors);
  streamed.begin_executor(sizes.micro_batch);
  kv_cache = &its_cache;
  table_stride = exec::BlockTable::blocks_for(sizes.n_positions);
  if (const auto stride = static_cast<std::size_t>(space->rows(RowBuffer::kHeadInput).stride); stride > 0) {
    const std::size_t n = kLogitRows, logits = n * static_cast<std::size_t>(plan.config.vocab_size);
    head.memory = device->allocate_pinned((logits + n * stride + n) * sizeof(float));
    head.logits = reinterpret_cast<float*>(head.memory.data());
    head.rows = head.logits + logits;
    head.factors = head.rows + n * stride;
  }
  row_facts = device->allocate_pinned(space->array_bytes(DeviceArray::kPositions) +
                                      space->array_bytes(DeviceArray::kSequences) +
                                      space->array_bytes(DeviceArray::kBlockTable));
  auto registered = std::make_shared<std::vector<gpu::RegisteredRange>>();
  const auto register_host = [&](void* begin, std::size_t bytes) {
    if (bytes > 0) registered->push_back(device->register_host(begin, bytes));
  };
  const auto rows = [&](RowBuffer buffer) {
    exec::Activations& a = host.rows(buffer);
    if (a.n_rows() > 0)
      register_host(a.row(0), static_cast<std::size_t>(a.n_rows() * a.stride_floats()) * sizeof(float));
  };
  for (const RowBuffer buffer : {RowBuffer::kResidual, RowBuffer::kInput, RowBuffer::kOutput}) rows(buffer);
  for (const ArrayBuffer array : {ArrayBuffer::kExpertIds, ArrayBuffer::kExpertWeights})
    register_host(host.array<std::byte>(array), host.array_bytes(array));

  if (space->array_bytes(DeviceArray::kInvFreq) > 0) {
    const std::vector<double> inv_freq = plan.config.inv_freq();
    device->copy_to_device(stream, space->array<double>(DeviceArray::kInvFreq), inv_freq.data(),
                           inv_freq.size() * sizeof(double));
    device->synchronize(stream);
  }
  const auto n_slots = static_cast<std::int32_t>(space->array_bytes(DeviceArray::kSlotRows) / sizeof(std::int32_t));
  if (n_slots == 0) return registered;
  std::vector<std::int32_t> slot_rows, slot_begin = {0};
  for (std::int32_t slot = 0; slot < n_slots; ++slot) {
    slot_rows.push_back(slot / static_cast<std::int32_t>(plan.config.n_experts_per_tok));
    slot_begin.push_back(slot + 1);
  }
  const auto send = [&](DeviceArray array, const std::vector<std::int32_t>& values) {
    device->copy_to_device(stream, space->array<std::int32_t>(array), values.data(),
                           values.size() * sizeof(std::int32_t));
  };
  send(DeviceArray::kSlotRows, slot_rows);
  send(DeviceArray::kSlotBegin, slot_begin);
  device->synchronize(stream);
  return registered;
}

void DeviceState::send_rows(const Pass& pass) {
  if (attention.empty()) return;
  auto* positions = reinterpret_cast<std::int32_t*>(row_facts.data());
  std::int32_t* sequences = positions + space->array_bytes(DeviceArray::kPositions) / sizeof(std::int32_t);
  std::int32_t* table = sequences + space->array_bytes(DeviceArray::kSequences) / sizeof(std::int32_t);
  std::int32_t last = -1, least = pass.row(0).sequence, most = least;
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    const exec::Row& row = pass.row(i);
    least = std::min(least, row.sequence);
    most = std::max(most, row.sequence);
    positions[i] = row.position;
    sequences[i] = row.sequence;
    if (row.sequence == last) continue;
    last = row.sequence;
    std::int32_t* blocks = table + last * table_stride;
    for (std::int64_t position = 0; position < kv_cache->length(last); position += gpu::kCacheBlock)
      blocks[position / gpu::kCacheBlock] = kv_cache->block_index(last, position);
  }
  runs = row_runs(pass.rows, short_prompt_rows(plan.config));
  const auto send = [&](DeviceArray array, const std::int32_t* from, std::size_t bytes) {
    device->copy_to_device(stream, space->array<std::int32_t>(array), from, bytes);
  };
  const auto bytes = static_cast<std::size_t>(pass.n()) * sizeof(std::int32_t);
  send(DeviceArray::kPositions, positions, bytes);
  send(DeviceArray::kSequences, sequences, bytes);
  device->copy_to_device(stream, space->array<std::int32_t>(DeviceArray::kBlockTable) + least * table_stride,
                         table + least * table_stride,
                         static_cast<std::size_t>((most - least + 1) * table_stride) * sizeof(std::int32_t));
  const gpu::RopeAnglesArgs args{.positions = space->array<std::int32_t>(DeviceArray::kPositions),
                                 .inv_freq = space->array<double>(DeviceArray::kInvFreq),
                                 .cos_sin = space->array<float>(DeviceArray::kCosSin),
                                 .magnitude = static_cast<float>(plan.config.rope.magnitude),
                                 .n_rows = static_cast<std::int32_t>(pass.n()),
                                 .rope = static_cast<std::int32_t>(plan.config.qk_rope_head_dim)};
  device->launch<KernelId::rope_angles>(stream, gpu::rope_angles_grid(args), args);
}

void DeviceState::upload(const Pass& pass) {
  const DeviceRows& residual = space->rows(RowBuffer::kResidual);
  device->copy_to_device(stream, residual.rows, pass.buffer(RowBuffer::kResidual).row(0),
                         static_cast<std::size_t>(pass.n() * residual.stride) * sizeof(float));
}

void DeviceState::copy_routed(std::int64_t n_rows, exec::Workspace& host) {
  const DeviceRows& input = space->rows(RowBuffer::kInput);
  const auto n = static_cast<std::size_t>(n_rows), slots = n * static_cast<std::size_t>(plan.config.n_experts_per_tok);
  device->copy_to_host(stream, host.rows(RowBuffer::kInput).row(0), input.rows,
                       n * static_cast<std::size_t>(input.stride) * sizeof(float));
  device->copy_to_host(stream, meeting->factors, input.factors, n * sizeof(float));
  device->copy_to_host(stream, host.array<std::int32_t>(ArrayBuffer::kExpertIds),
                       space->array<std::int32_t>(DeviceArray::kExpertIds), slots * sizeof(std::int32_t));
  device->copy_to_host(stream, host.array<float>(ArrayBuffer::kExpertWeights),
                       space->array<float>(DeviceArray::kExpertWeights), slots * sizeof(float));
}

void DeviceState::launch_head(const Pass& pass, std::size_t first) {
  const ModelConfig& c = plan.config;
  const DeviceRows &residual = space->rows(RowBuffer::kResidual), &input = space->rows(RowBuffer::kHeadInput);
  const float* norm = weights.vector({WeightRole::kOutputNorm});
  const auto rows =
      std::span(pass.wanted).subspan(first, std::min<std::size_t>(pass.wanted.size() - first, kLogitRows));
  for (std::size_t i = 0; i < rows.size(); ++i)
    ops->weigh({.x = residual.from(rows[i]),
                .out = input.from(static_cast<std::int64_t>(i)),
                .weight = norm,
                .n_rows = 1,
                .n = c.hidden_size,
                .eps = static_cast<float>(c.rms_norm_eps)});
  if (std::ranges::any_of(rows, [&](std::int64_t row) { return pass.row(row).wants_hidden; }))
    device->copy_to_host(stream, head.rows, input.rows,
                         rows.size() * static_cast<std::size_t>(input.stride) * sizeof(float));
  device->copy_to_host(stream, head.factors, input.factors, rows.size() * sizeof(float));
  if (pass.logit_rows.empty()) return;
  const DeviceMatrix output = weights.matrix({c.tied_embeddings ? WeightRole::kEmbedding : WeightRole::kOutput});
  auto* logits = space->array<float>(DeviceArray::kLogits);
  ops->multiply({.weight = output,
                 .acts = input,
                 .out = logits,
                 .out_stride = c.vocab_size,
                 .n_rows = static_cast<std::int64_t>(rows.size())});
  device->copy_to_host(stream, head.logits, logits,
                       rows.size() * static_cast<std::size_t>(c.vocab_size) * sizeof(float));
}

void DeviceState::collect_head(const Pass& pass, std::size_t first) {
  const auto vocab = static_cast<std::size_t>(plan.config.vocab_size);
  const auto stride = static_cast<std::size_t>(space->rows(RowBuffer::kHeadInput).stride);
  exec::Activations& input = pass.buffer(RowBuffer::kHeadInput);
  for (std::size_t i = 0; i < kLogitRows && first + i < pass.wanted.size(); ++i) {
    const auto k = static_cast<std::int64_t>(first + i);
    if (!is_norm_factor(head.factors[i]) && meeting->bad_layer == kNoLayer)
      meeting->bad_layer = plan.config.n_layers - 1;
    if (pass.row(pass.wanted[first + i]).wants_hidden) {
      std::copy_n(head.rows + i * stride, plan.config.hidden_size, input.row(k));
      input.set_factor(k, head.factors[i]);
    }
    const auto logit = std::ranges::lower_bound(pass.logit_rows, static_cast<std::int32_t>(k));
    if (logit == pass.logit_rows.end() || *logit != k) continue;
    std::copy_n(head.logits + i * vocab, vocab,
                pass.logits + static_cast<std::size_t>(logit - pass.logit_rows.begin()) * vocab);
  }
}

}  // namespace dodeca::runtime::device
