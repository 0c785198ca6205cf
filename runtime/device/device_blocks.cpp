#include "runtime/device/device_blocks.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "gpu/kernels/rope.hpp"
#include "runtime/device/device_attention.hpp"
#include "runtime/device/device_ffn.hpp"
#include "runtime/device/segment.hpp"
#include "runtime/exec/moe_ffn.hpp"

namespace dodeca::runtime::device {
namespace {

using exec::ArrayBuffer;
using exec::Block;
using exec::Pass;
using exec::RowBuffer;
using gpu::KernelId;

// What one member does of a segment, with everyone waiting behind it.
class SegmentBlock final : public Block {
 public:
  SegmentBlock(const BlockPlan& plan, std::string_view name, std::function<void(Pass&)> f) : Block(plan) {
    phases_ = {{.name = name, .deal = [f = std::move(f)](Pass& pass, const cpu::Member& member) {
                  if (member.index == 0) f(pass);
                }}};
  }
  std::span<const exec::Phase> phases(const Pass&) const override { return phases_; }
  bool has_output() const override { return false; }
  std::int64_t input_of(const Pass&, std::int64_t) const override { return -1; }

 private:
  std::vector<exec::Phase> phases_;
};

// Rows from the device for the routed experts of a layer, and their sums back.
class DeviceRouting final : public exec::RoutedElsewhere {
 public:
  DeviceRouting(Segment& segment, Meeting& meeting, std::size_t stretch, std::int64_t layer)
      : segment_(segment), meeting_(meeting), stretch_(stretch), layer_(layer) {}

  void wait(Pass& pass) override {
    segment_.wait(stretch_, pass);
    exec::Activations& input = pass.buffer(RowBuffer::kInput);
    if (meeting_.failure != nullptr) return clear(pass);
    for (std::int64_t i = 0; i < pass.n(); ++i) {
      const float factor = meeting_.factors[i];
      if ((!std::isfinite(factor) || factor <= 0.0f) && meeting_.bad_layer == kNoLayer) meeting_.bad_layer = layer_;
      input.set_factor(i, factor);
    }
  }
  void give(Pass&) override { gpu::write_flag(meeting_.given, ++meeting_.n_given); }

 private:
  // The device is lost: the pass goes on with something, and ends with the error.
  static void clear(Pass& pass) {
    const std::int64_t used = pass.config.n_experts_per_tok;
    for (std::int64_t i = 0; i < pass.n(); ++i) {
      std::fill_n(pass.buffer(RowBuffer::kInput).row(i), pass.config.hidden_size, 0.0f);
      pass.buffer(RowBuffer::kInput).set_factor(i, 1.0f);
    }
    for (std::int64_t i = 0; i < pass.n() * used; ++i) {
      pass.space.array<std::int32_t>(ArrayBuffer::kExpertIds)[i] = static_cast<std::int32_t>(i % used);
      pass.space.array<float>(ArrayBuffer::kExpertWeights)[i] = 0.0f;
    }
  }

  Segment& segment_;
  Meeting& meeting_;
  std::size_t stretch_;
  std::int64_t layer_;
};

}  // namespace

struct DeviceBlocks::Impl {
  std::shared_ptr<gpu::Device> device;
  Plan plan;
  Offload offload;
  gpu::Stream stream;
  std::int32_t multiprocessors;
  DeviceWeights weights;
  std::unique_ptr<DeviceCache> cache;

  // Of the executor that exists now.
  std::optional<DeviceSpace> space;
  std::optional<DeviceOps> ops;
  std::unique_ptr<Meeting> meeting;
  std::vector<gpu::RegisteredRange> ranges;
  std::vector<std::unique_ptr<Segment>> segments;
  std::vector<std::unique_ptr<DeviceAttention>> attention;
  std::vector<std::unique_ptr<DeviceFfn>> ffn;
  gpu::PinnedMemory row_facts;  // positions, sequences, block table: as the arrays on the device
  std::int64_t table_stride = 0;
  exec::KvCache* kv_cache = nullptr;

  Impl(std::shared_ptr<gpu::Device> d, const Plan& p, const Offload& o)
      : device(std::move(d)),
        plan(p),
        offload(o),
        stream(device->make_stream()),
        multiprocessors(std::max(1, device->info().multiprocessors)),
        weights(*device, stream, plan) {}

  std::vector<std::int64_t> attention_layers() const {
    std::vector<std::int64_t> layers;
    for (const BlockPlan& block : plan.blocks) {
      if (block.kind == BlockKind::kMlaAttention && block.place == Place::kDevice) layers.push_back(block.layer);
    }
    return layers;
  }

  void begin_executor(const exec::RunSizes& sizes, exec::KvCache& its_cache, exec::Workspace& host);
  void register_host(void* begin, std::size_t bytes) {
    if (bytes > 0) ranges.push_back(device->register_host(begin, bytes));
  }
  void send_rows(const Pass& pass);
  void upload(const Pass& pass);
  void tell(const Pass& pass, exec::Workspace& host);
  void launch_head(const Pass& pass);
};

void DeviceBlocks::Impl::begin_executor(const exec::RunSizes& sizes, exec::KvCache& its_cache, exec::Workspace& host) {
  segments.clear();
  attention.clear();
  ffn.clear();
  ranges.clear();
  ops.reset();
  space.reset();
  meeting = std::make_unique<Meeting>(*device, sizes);
  space.emplace(*device, stream, device_demand(plan, sizes, multiprocessors));
  ops.emplace(*device, stream, *space, multiprocessors);
  kv_cache = &its_cache;
  table_stride = exec::BlockTable::blocks_for(sizes.n_positions);
  row_facts = device->allocate_pinned(space->array_bytes(DeviceArray::kPositions) +
                                      space->array_bytes(DeviceArray::kSequences) +
                                      space->array_bytes(DeviceArray::kBlockTable));
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
  if (n_slots == 0) return;
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
}

// Where the rows are in their sequences, and where these are in the cache.
void DeviceBlocks::Impl::send_rows(const Pass& pass) {
  if (attention.empty()) return;
  auto* positions = reinterpret_cast<std::int32_t*>(row_facts.data());
  std::int32_t* sequences = positions + space->array_bytes(DeviceArray::kPositions) / sizeof(std::int32_t);
  std::int32_t* table = sequences + space->array_bytes(DeviceArray::kSequences) / sizeof(std::int32_t);
  std::int32_t last = -1;
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    const exec::Row& row = pass.row(i);
    positions[i] = row.position;
    sequences[i] = row.sequence;
    if (row.sequence == last) continue;
    last = row.sequence;
    std::int32_t* blocks = table + last * table_stride;
    for (std::int64_t position = 0; position < kv_cache->length(last); position += gpu::kCacheBlock)
      blocks[position / gpu::kCacheBlock] = kv_cache->block_index(last, position);
  }
  const auto send = [&](DeviceArray array, const std::int32_t* from, std::size_t bytes) {
    device->copy_to_device(stream, space->array<std::int32_t>(array), from, bytes);
  };
  const auto bytes = static_cast<std::size_t>(pass.n()) * sizeof(std::int32_t);
  send(DeviceArray::kPositions, positions, bytes);
  send(DeviceArray::kSequences, sequences, bytes);
  send(DeviceArray::kBlockTable, table, space->array_bytes(DeviceArray::kBlockTable));
  const gpu::RopeAnglesArgs args{.positions = space->array<std::int32_t>(DeviceArray::kPositions),
                                 .inv_freq = space->array<double>(DeviceArray::kInvFreq),
                                 .cos_sin = space->array<float>(DeviceArray::kCosSin),
                                 .magnitude = static_cast<float>(plan.config.rope.magnitude),
                                 .n_rows = static_cast<std::int32_t>(pass.n()),
                                 .rope = static_cast<std::int32_t>(plan.config.qk_rope_head_dim)};
  device->launch<KernelId::rope_angles>(stream, gpu::rope_angles_grid(args), args);
}

void DeviceBlocks::Impl::upload(const Pass& pass) {
  const DeviceRows& residual = space->rows(RowBuffer::kResidual);
  device->copy_to_device(stream, residual.rows, pass.buffer(RowBuffer::kResidual).row(0),
                         static_cast<std::size_t>(pass.n() * residual.stride) * sizeof(float));
}

// Rows, ids and weights for the processors.
void DeviceBlocks::Impl::tell(const Pass& pass, exec::Workspace& host) {
  const DeviceRows& input = space->rows(RowBuffer::kInput);
  const auto n = static_cast<std::size_t>(pass.n()),
             slots = n * static_cast<std::size_t>(plan.config.n_experts_per_tok);
  device->copy_to_host(stream, host.rows(RowBuffer::kInput).row(0), input.rows,
                       n * static_cast<std::size_t>(input.stride) * sizeof(float));
  device->copy_to_host(stream, meeting->factors, input.factors, n * sizeof(float));
  device->copy_to_host(stream, host.array<std::int32_t>(ArrayBuffer::kExpertIds),
                       space->array<std::int32_t>(DeviceArray::kExpertIds), slots * sizeof(std::int32_t));
  device->copy_to_host(stream, host.array<float>(ArrayBuffer::kExpertWeights),
                       space->array<float>(DeviceArray::kExpertWeights), slots * sizeof(float));
  device->signal(stream, meeting->told, ++meeting->n_told);
}

// The wanted rows, some at a time: normalized, logits of those that want them, and the rows themselves for the host.
void DeviceBlocks::Impl::launch_head(const Pass& pass) {
  const DeviceRows &residual = space->rows(RowBuffer::kResidual), &input = space->rows(RowBuffer::kHeadInput);
  const ModelConfig& c = plan.config;
  const float* norm = weights.vector({WeightRole::kOutputNorm});
  const DeviceMatrix output = weights.matrix({c.tied_embeddings ? WeightRole::kEmbedding : WeightRole::kOutput});
  exec::Activations& host = pass.buffer(RowBuffer::kHeadInput);
  auto* logits = space->array<float>(DeviceArray::kLogits);
  std::size_t logit = 0;  // of pass.logit_rows
  for (std::size_t k = 0; k < pass.wanted.size(); ++k) {
    DeviceRows row = residual;
    row.rows += pass.wanted[k] * residual.stride;
    ops->weigh(row, nullptr, norm, input, 1, c.hidden_size, static_cast<float>(c.rms_norm_eps));
    if (pass.row(pass.wanted[k]).wants_hidden) {
      device->copy_to_host(stream, host.row(static_cast<std::int64_t>(k)), input.rows,
                           static_cast<std::size_t>(c.hidden_size) * sizeof(float));
      device->copy_to_host(stream, meeting->factors + k, input.factors, sizeof(float));
    }
    if (logit == pass.logit_rows.size() || pass.logit_rows[logit] != static_cast<std::int32_t>(k)) continue;
    ops->multiply({.weight = output, .acts = input, .out = logits, .out_stride = c.vocab_size, .n_rows = 1});
    device->copy_to_host(stream, pass.logits + static_cast<std::int64_t>(logit) * c.vocab_size, logits,
                         static_cast<std::size_t>(c.vocab_size) * sizeof(float));
    ++logit;
  }
}

// Puts the blocks of an executor together.
class BlockBuilder {
 public:
  BlockBuilder(DeviceBlocks::Impl& impl, const Model& model, exec::Workspace& host)
      : impl_(impl), model_(model), host_(host) {}

  std::vector<std::unique_ptr<Block>> build() {
    for (const BlockPlan& plan : model_.plan().blocks) {
      if (plan.place == Place::kDevice)
        add_device(plan);
      else
        add_host(plan);
      if (plan.kind == BlockKind::kHead) break;
    }
    return std::move(blocks_);
  }

 private:
  void add_host(const BlockPlan& plan) {
    if (segment_ != nullptr) end_segment(false);
    blocks_.push_back(exec::make_block(model_, plan));
  }

  void add_device(const BlockPlan& plan) {
    if (segment_ == nullptr) begin_segment(plan);
    last_ = &plan;
    if (plan.kind == BlockKind::kMlaAttention) return add_attention(plan);
    if (plan.kind == BlockKind::kHead) return end_segment(true);
    add_ffn(plan);
  }

  void begin_segment(const BlockPlan& plan) {
    impl_.segments.push_back(std::make_unique<Segment>(*impl_.ops, *impl_.meeting));
    segment_ = impl_.segments.back().get();
    added_ = false;
    DeviceBlocks::Impl* impl = &impl_;
    segment_->add([impl](const Pass& pass) {
      impl->send_rows(pass);
      impl->upload(pass);
    });
    blocks_.push_back(std::make_unique<SegmentBlock>(plan, "to the device",
                                                     [segment = segment_](Pass& pass) { segment->begin(pass); }));
  }

  const DeviceRows* pending() {
    const DeviceRows* rows = added_ ? &impl_.space->rows(RowBuffer::kOutput) : nullptr;
    added_ = true;
    return rows;
  }

  void add_attention(const BlockPlan& plan) {
    impl_.attention.push_back(std::make_unique<DeviceAttention>(
        impl_.plan.config, plan, impl_.weights, *impl_.cache,
        impl_.plan.options.compute_f32 ? gpu::MlaArithmetic::kF32 : gpu::MlaArithmetic::kBf16));
    segment_->add([attention = impl_.attention.back().get(), impl = &impl_, rows = pending()](const Pass& pass) {
      attention->launch(*impl->ops, pass.n(), rows, impl->table_stride);
    });
  }

  void add_ffn(const BlockPlan& plan) {
    impl_.ffn.push_back(std::make_unique<DeviceFfn>(impl_.plan.config, plan, impl_.weights));
    const DeviceFfn* ffn = impl_.ffn.back().get();
    const bool experts_here = plan.kind == BlockKind::kMoeFfn && plan.experts_place == Place::kDevice,
               experts_there = plan.kind == BlockKind::kMoeFfn && !experts_here;
    segment_->add([ffn, experts_here, experts_there, impl = &impl_, host = &host_, rows = pending()](const Pass& pass) {
      ffn->begin(*impl->ops, pass.n(), rows);
      if (experts_there) impl->tell(pass, *host);
      const bool shared = ffn->launch_dense(*impl->ops, pass.n());
      if (experts_here) ffn->launch_experts(*impl->ops, pass.n(), shared);
      if (experts_there && !shared) {
        const DeviceRows& output = impl->space->rows(RowBuffer::kOutput);
        impl->device->fill(impl->stream, output.rows, 0,
                           static_cast<std::size_t>(pass.n() * output.stride) * sizeof(float));
      }
    });
    if (!experts_there) return;
    const std::size_t stretch = segment_->cut();
    auto block = std::make_unique<exec::MoeFfn>(model_, plan);
    block->set_routed_elsewhere(std::make_unique<DeviceRouting>(*segment_, *impl_.meeting, stretch, plan.layer));
    blocks_.push_back(std::move(block));
    segment_->add([impl = &impl_, host = &host_](const Pass& pass) {
      impl->device->wait_flag(impl->stream, impl->meeting->given, impl->meeting->n_given + 1);
      exec::Activations& sums = host->rows(RowBuffer::kOutput);
      impl->ops->add(impl->space->rows(RowBuffer::kOutput), sums.row(0), sums.stride_floats(), pass.n(),
                     impl->plan.config.hidden_size);
    });
  }

  // The residual stream is complete on the device, and leaves it as itself or as logits.
  void end_segment(bool with_head) {
    const bool added = added_;
    segment_->add([impl = &impl_, added, with_head](const Pass& pass) {
      const DeviceRows &residual = impl->space->rows(RowBuffer::kResidual),
                       &output = impl->space->rows(RowBuffer::kOutput);
      if (added) impl->ops->add(residual, output.rows, output.stride, pass.n(), impl->plan.config.hidden_size);
      if (with_head)
        impl->launch_head(pass);
      else
        impl->device->copy_to_host(impl->stream, pass.buffer(RowBuffer::kResidual).row(0), residual.rows,
                                   static_cast<std::size_t>(pass.n() * residual.stride) * sizeof(float));
      impl->device->signal(impl->stream, impl->meeting->told, ++impl->meeting->n_told);
    });
    blocks_.push_back(std::make_unique<SegmentBlock>(
        *last_, with_head ? "head" : "from the device", [segment = segment_, impl = &impl_, with_head](Pass& pass) {
          segment->end();
          exec::Activations& input = pass.buffer(RowBuffer::kHeadInput);
          for (std::size_t k = 0; with_head && k < pass.wanted.size(); ++k) {
            if (pass.row(pass.wanted[k]).wants_hidden)
              input.set_factor(static_cast<std::int64_t>(k), impl->meeting->factors[k]);
          }
        }));
    segment_ = nullptr;
  }

  DeviceBlocks::Impl& impl_;
  const Model& model_;
  exec::Workspace& host_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Segment* segment_ = nullptr;
  const BlockPlan* last_ = nullptr;
  bool added_ = false;  // something in kOutput waits to be added
};

DeviceBlocks::DeviceBlocks(std::shared_ptr<gpu::Device> device, const Plan& plan, const Offload& offload)
    : impl_(std::make_unique<Impl>(std::move(device), plan, offload)) {}
DeviceBlocks::~DeviceBlocks() = default;

void DeviceBlocks::take(const WeightPlan& weight, const WeightStore& store) { impl_->weights.take(weight, store); }

std::unique_ptr<exec::CacheLayer> DeviceBlocks::make_cache_layer(std::int64_t layer, std::int64_t n_blocks) {
  const std::vector<std::int64_t> layers = impl_->attention_layers();
  if (layer == layers.front()) {  // of another executor than the one before
    impl_->cache.reset();
    impl_->cache = std::make_unique<DeviceCache>(
        *impl_->device, impl_->stream, cache_shape(impl_->plan.config, impl_->offload.cache_type), layers, n_blocks);
  }
  return impl_->cache->view(layer);
}

std::vector<std::unique_ptr<Block>> DeviceBlocks::make_blocks(const Model& model, const exec::RunSizes& sizes,
                                                              exec::KvCache& cache, exec::Workspace& space) {
  impl_->begin_executor(sizes, cache, space);
  return BlockBuilder(*impl_, model, space).build();
}

void DeviceBlocks::check() {
  Meeting& meeting = *impl_->meeting;
  const std::int64_t layer = std::exchange(meeting.bad_layer, kNoLayer);
  if (meeting.failure != nullptr) {
    try {
      std::rethrow_exception(std::exchange(meeting.failure, nullptr));
    } catch (const std::exception& error) {
      throw Error(ErrorKind::kIo, error.what());
    }
  }
  if (layer != kNoLayer)
    throw Error(
        ErrorKind::kBadFile,
        fmt::format("an activation became NaN or infinite in layer {} (attention) or before it, on the device", layer));
}

const Offload& DeviceBlocks::offload() const { return impl_->offload; }
const gpu::Device& DeviceBlocks::device() const { return *impl_->device; }

}  // namespace dodeca::runtime::device
