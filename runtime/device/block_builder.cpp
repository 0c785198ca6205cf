#include "runtime/device/block_builder.hpp"

#include <algorithm>

#include "runtime/exec/moe_ffn.hpp"

namespace dodeca::runtime::device {
namespace {

using exec::ArrayBuffer;
using exec::Block;
using exec::Pass;
using exec::RowBuffer;

// What one member does of a segment, with everyone waiting behind it.
class SegmentBlock final : public Block {
 public:
  SegmentBlock(const BlockPlan& plan, std::string_view name, std::function<void(Pass&)> f) : Block(plan) {
    phases_ = {{.name = name, .deal = [f = std::move(f)](Pass& pass, const cpu::Member& member) {
                  if (member.index == 0) f(pass);
                }}};
  }
  std::span<const exec::Phase> phases(const Pass&) const override { return phases_; }
  std::span<const std::int32_t> output_parts() const override { return {}; }
  std::int64_t input_of(const Pass&, std::int64_t) const override { return -1; }

 private:
  std::vector<exec::Phase> phases_;
};

// Rows from the device for the routed experts of a layer, and their sums back.
class DeviceRouting final : public exec::RoutedElsewhere {
 public:
  DeviceRouting(DeviceState& state, Segment& segment, std::size_t stretch, std::int64_t layer)
      : state_(state), meeting_(*state.meeting), segment_(segment), stretch_(stretch), layer_(layer) {}

  void wait(Pass& pass) override {
    if (state_.sides == Sides::kProcessors) return;
    meeting_.attempt([&] { state_.hot.go_on(); });
    segment_.wait(stretch_, pass);
    exec::Activations& input = pass.buffer(RowBuffer::kInput);
    if (meeting_.failure != nullptr) return clear(pass);
    for (std::int64_t i = 0; i < pass.n(); ++i) {
      const float factor = meeting_.factors[i];
      if (!is_norm_factor(factor) && meeting_.bad_layer == kNoLayer) meeting_.bad_layer = layer_;
      input.set_factor(i, factor);
    }
    const std::span<const std::int32_t> ids{pass.space.array<std::int32_t>(ArrayBuffer::kExpertIds),
                                            static_cast<std::size_t>(pass.n() * pass.config.n_experts_per_tok)};
    state_.hot.count(layer_, ids);
    meeting_.attempt([&] { state_.streamed.begin_layer(*state_.ops, layer_, ids); });
  }
  bool takes(std::int64_t expert) const override {
    if (state_.sides == Sides::kDevice || state_.hot.takes(layer_, expert)) return true;
    return state_.sides == Sides::kBoth && state_.streamed.takes(expert);
  }
  void give(Pass& pass) override {
    if (state_.sides != Sides::kProcessors) segment_.give(stretch_, pass);
  }

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

  DeviceState& state_;
  Meeting& meeting_;
  Segment& segment_;
  std::size_t stretch_;
  std::int64_t layer_;
};

// The first rows' logits are there; the others take turns.
void finish_head(DeviceState& state, const Pass& pass) {
  for (std::size_t first = 0; first < pass.wanted.size(); first += kLogitRows) {
    if (first > 0) {
      state.meeting->do_and_wait([&] { state.launch_head(pass, first); }, state.stream);
    }
    if (state.meeting->failure != nullptr) return;
    state.collect_head(pass, first);
  }
}

// Puts the blocks of an executor together.
class BlockBuilder {
 public:
  BlockBuilder(DeviceState& state, const Model& model, exec::Workspace& host, DeviceState::Ranges ranges)
      : state_(state), model_(model), host_(host), ranges_(std::move(ranges)) {}

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
    state_.segments.push_back(std::make_unique<Segment>(*state_.ops, *state_.meeting));
    segment_ = state_.segments.back().get();
    added_ = false;
    const bool first = state_.segments.size() == 1;
    segment_->add([state = &state_, first](const Pass& pass) {
      if (first) {
        state->hot.begin_pass(pass.n());
        state->streamed.begin_pass(pass.n());
      }
      state->send_rows(pass);
      state->upload(pass);
    });
    blocks_.push_back(std::make_unique<SegmentBlock>(
        plan, "to the device", [state = &state_, segment = segment_, ranges = ranges_](Pass& pass) {
          if (state->sides != Sides::kProcessors) segment->begin(pass);
        }));
  }

  const DeviceRows* pending() {
    const DeviceRows* rows = added_ ? &state_.space->rows(RowBuffer::kOutput) : nullptr;
    added_ = true;
    return rows;
  }

  void add_attention(const BlockPlan& plan) {
    state_.attention.push_back(std::make_unique<DeviceAttention>(
        state_.plan.config, plan, state_.weights, *state_.cache,
        state_.plan.options.compute_f32 ? gpu::MlaArithmetic::kF32 : gpu::MlaArithmetic::kTensor));
    segment_->add_fixed([attention = state_.attention.back().get(), state = &state_, rows = pending()](std::int64_t n) {
      // Few rows are kept as graphs, which are recorded before a pass has said its runs.
      attention->launch(*state->ops, n, rows, state->table_stride,
                        n <= exec::kFewRows ? std::span<const RowRun>() : state->runs);
    });
  }

  void add_ffn(const BlockPlan& plan) {
    const HotExperts::Layer* hot = state_.hot.layer(plan.layer);
    state_.ffn.push_back(std::make_unique<DeviceFfn>(state_.plan.config, plan, state_.weights, hot));
    const DeviceFfn* ffn = state_.ffn.back().get();
    const bool experts_here = plan.kind == BlockKind::kMoeFfn && plan.experts_place == Place::kDevice,
               experts_there = plan.kind == BlockKind::kMoeFfn && !experts_here;
    segment_->add_fixed([ffn, experts_there, state = &state_, host = &host_, rows = pending()](std::int64_t n) {
      ffn->begin(*state->ops, n, rows);
      if (experts_there) state->copy_routed(n, *host);
    });
    if (experts_there) {
      segment_->add([state = &state_](const Pass&) {
        state->device->signal(state->stream, state->meeting->told, ++state->meeting->n_told);
      });
    }
    segment_->add_fixed([ffn, hot, experts_here, experts_there, state = &state_](std::int64_t n) {
      const bool shared = ffn->launch_dense(*state->ops, n);
      if (experts_here) ffn->launch_experts(*state->ops, n, shared);
      if (!experts_there) return;
      const DeviceRows& output = state->space->rows(RowBuffer::kOutput);
      if (!shared)
        state->device->fill(state->stream, output.rows, 0, static_cast<std::size_t>(n * output.stride) * sizeof(float));
      if (hot != nullptr && n <= exec::kFewRows) ffn->launch_hot_experts(*state->ops, n);
    });
    if (!experts_there) return;
    const std::size_t stretch = segment_->cut();
    auto block = std::make_unique<exec::MoeFfn>(model_, plan);
    block->set_routed_elsewhere(std::make_unique<DeviceRouting>(state_, *segment_, stretch, plan.layer));
    blocks_.push_back(std::move(block));
    segment_->add([state = &state_](const Pass&) {
      state->device->wait_flag(state->stream, state->meeting->given, ++state->meeting->n_awaited);
    });
    segment_->add_fixed([state = &state_, host = &host_](std::int64_t n) {
      exec::Activations& sums = host->rows(RowBuffer::kOutput);
      state->ops->add(state->space->rows(RowBuffer::kOutput), sums.row(0), sums.stride_floats(), n,
                      state->plan.config.hidden_size);
    });
  }

  // The residual stream is complete on the device, and leaves it as itself or as logits.
  void end_segment(bool with_head) {
    const bool added = added_;
    segment_->add([state = &state_, added, with_head](const Pass& pass) {
      const DeviceRows &residual = state->space->rows(RowBuffer::kResidual),
                       &output = state->space->rows(RowBuffer::kOutput);
      if (added) state->ops->add(residual, output.rows, output.stride, pass.n(), state->plan.config.hidden_size);
      if (with_head)
        state->launch_head(pass, 0);
      else
        state->device->copy_to_host(state->stream, pass.buffer(RowBuffer::kResidual).row(0), residual.rows,
                                    static_cast<std::size_t>(pass.n() * residual.stride) * sizeof(float));
      state->device->signal(state->stream, state->meeting->told, ++state->meeting->n_told);
    });
    blocks_.push_back(std::make_unique<SegmentBlock>(*last_, with_head ? "head" : "from the device",
                                                     [segment = segment_, state = &state_, with_head](Pass& pass) {
                                                       if (state->sides == Sides::kProcessors) return;
                                                       segment->end();
                                                       if (with_head) finish_head(*state, pass);
                                                     }));
    segment_ = nullptr;
  }

  DeviceState& state_;
  const Model& model_;
  exec::Workspace& host_;
  DeviceState::Ranges ranges_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Segment* segment_ = nullptr;
  const BlockPlan* last_ = nullptr;
  bool added_ = false;  // something in kOutput waits to be added
};

}  // namespace

std::vector<std::unique_ptr<Block>> build_blocks(DeviceState& state, const Model& model, exec::Workspace& host,
                                                 DeviceState::Ranges ranges) {
  return BlockBuilder(state, model, host, std::move(ranges)).build();
}

}  // namespace dodeca::runtime::device
