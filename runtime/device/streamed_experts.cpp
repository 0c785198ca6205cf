#include "runtime/device/streamed_experts.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <exception>

#include "quant/check.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/device/device_demand.hpp"
#include "runtime/exec/block.hpp"

namespace dodeca::runtime::device {
namespace {

// Part of the experts' time that streaming must save: less is within what the speeds are wrong by.
constexpr double kLeastGain = 0.1;
// Weights that take whole pages of their own in a slab (cpu/memory.hpp), and what is pinned: smaller ones are copied as they are.
constexpr std::size_t kPinnedBytes = std::size_t{2} << 20, kPage = 4096;

std::uint64_t wave_bytes(const WeightPlan& weight, std::int64_t n_experts) {
  return aligned(unplaced_matrix(weight).slice_bytes * static_cast<std::uint64_t>(n_experts));
}

std::uint64_t buffer_bytes(const Plan& plan) {
  std::uint64_t most = 0;
  for (const BlockPlan& block : plan.blocks) {
    if (block.n_wave_experts == 0) continue;
    std::uint64_t bytes = 0;
    for (const WeightPlan* weight : expert_plans(plan, block)) bytes += wave_bytes(*weight, block.n_wave_experts);
    most = std::max(most, bytes);
  }
  return most;
}

// Goes before the weights do, when nothing reads them any more.
struct PinnedWeights {
  explicit PinnedWeights(std::shared_ptr<gpu::Device> its_device) : device(std::move(its_device)) {}
  PinnedWeights(const PinnedWeights&) = delete;
  PinnedWeights& operator=(const PinnedWeights&) = delete;
  ~PinnedWeights() {
    try {
      device->synchronize();
    } catch (...) {  // the device is lost: nothing runs there
    }
  }
  std::shared_ptr<gpu::Device> device;
  std::vector<gpu::RegisteredRange> ranges;
};

StreamShape shape_of(const Plan& plan, const Offload& offload) {
  StreamShape shape{.n_buffers = static_cast<int>(offload.n_stream_buffers)};
  for (const BlockPlan& block : plan.blocks) shape.wave_experts = std::max(shape.wave_experts, block.n_wave_experts);
  return shape;
}

}  // namespace

const BlockPlan* first_streamable(const Plan& plan) {
  const auto found = std::ranges::find_if(plan.blocks, [&](const BlockPlan& block) {
    if (block.kind != BlockKind::kMoeFfn || block.n_parts() != 1) return false;
    return std::ranges::all_of(expert_plans(plan, block), [](const WeightPlan* weight) {
      return weight != nullptr && weight->storage != Storage::kReference && device_layout(*weight) != nullptr;
    });
  });
  return found == plan.blocks.end() ? nullptr : &*found;
}

std::uint64_t stream_buffer_bytes(const Plan& plan, std::int64_t n_buffers) {
  return buffer_bytes(plan) * static_cast<std::uint64_t>(n_buffers);
}

std::uint64_t expert_bytes(const Plan& plan, const BlockPlan& block) {
  std::uint64_t bytes = 0;
  for (const WeightPlan* weight : expert_plans(plan, block)) bytes += unplaced_matrix(*weight).slice_bytes;
  return bytes;
}

std::uint64_t expert_macs(const ModelConfig& config) {
  return 3 * static_cast<std::uint64_t>(config.hidden_size * config.moe_intermediate_size);
}

StreamRates stream_rates(const Plan& plan, const BlockPlan& block, const StreamSpeeds& speeds) {
  const auto bytes = static_cast<double>(expert_bytes(plan, block)),
             macs = static_cast<double>(expert_macs(plan.config));
  return {.copied_expert = bytes / speeds.link_bytes_per_s,
          .device_expert = bytes / speeds.device_bytes_per_s,
          .device_row = macs / speeds.device_macs_per_s,
          .host_expert = bytes / speeds.host_bytes_per_s,
          .host_row = macs / speeds.host_macs_per_s};
}

double seconds_ahead(const Plan& plan, std::int64_t layer, const StreamSpeeds& speeds, std::int64_t n_rows) {
  double macs = 0;
  for (const BlockPlan& block : plan.blocks) {
    if (block.layer != layer || block.kind != BlockKind::kMlaAttention || block.place != Place::kDevice) continue;
    for (const std::size_t i : block.weights) {
      const WeightPlan& w = plan.weights[i];
      if (w.layout != nullptr) macs += static_cast<double>(w.n_in * w.n_out * w.n_slices);
    }
  }
  return macs * static_cast<double>(n_rows) / speeds.device_macs_per_s;
}

std::int64_t least_streamed_rows(const Plan& plan, const Offload& offload) {
  for (const BlockPlan& block : plan.blocks) {
    if (block.n_wave_experts == 0) continue;
    const std::int64_t rows =
        least_streamed_rows(plan.config.n_routed_experts, plan.config.n_experts_per_tok, offload.micro_batch,
                            shape_of(plan, offload), stream_rates(plan, block, *offload.stream_speeds), kLeastGain);
    // What comes behind a layer's experts is launched before their ids are known where rows are few.
    return rows < 0 ? rows : std::max(rows, exec::kFewRows + 1);
  }
  return -1;
}

StreamedExperts::StreamedExperts(gpu::Device& device, const gpu::Stream& stream, const Plan& plan,
                                 const Offload& offload)
    : device_(device),
      stream_(stream),
      config_(plan.config),
      shape_(shape_of(plan, offload)),
      place_of_(static_cast<std::size_t>(plan.n_layers()), -1) {
  if (shape_.wave_experts == 0 || shape_.n_buffers == 0) return;
  least_rows_ = least_streamed_rows(plan, offload);
  buffer_bytes_ = buffer_bytes(plan);
  memory_ = device.allocate(stream_buffer_bytes(plan, shape_.n_buffers));
  copies_ = device.make_stream();
  for (int i = 0; i < shape_.n_buffers; ++i) {
    copied_.push_back(device.make_event());
    multiplied_.push_back(device.make_event());
  }
  for (const BlockPlan& block : plan.blocks) {
    if (block.n_wave_experts == 0) continue;
    place_of_[static_cast<std::size_t>(block.layer)] = std::ssize(layers_);
    Layer& layer = layers_.emplace_back();
    layer.layer = block.layer;
    layer.rates = stream_rates(plan, block, *offload.stream_speeds);
    layer.ahead_row = device::seconds_ahead(plan, block.layer, *offload.stream_speeds, 1);
    const auto matrices = layer.weights.all();
    const auto planned = expert_plans(plan, block);
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      const WeightPlan& weight = *planned[i];
      layer.ids[i] = weight.id;
      *matrices[i] = unplaced_matrix(weight);
      matrices[i]->n_slices = block.n_wave_experts;
      if (i == 1) layer.up = at;
      if (i == 2) layer.down = at;
      at += wave_bytes(weight, block.n_wave_experts);
    }
  }
}

// A copy that is under way must not lose its memory.
StreamedExperts::~StreamedExperts() {
  if (!copies_) return;
  try {
    device_.synchronize(copies_);
  } catch (...) {  // the device is lost: nothing runs there
  }
}

void StreamedExperts::read_from(const WeightStore& store, const std::shared_ptr<gpu::Device>& device, const Log& log) {
  if (layers_.empty() || store_ == &store) return;
  store_ = &store;
  const auto ranges = std::make_shared<PinnedWeights>(device);
  std::uint64_t bytes = 0, pinned = 0;
  std::string refusal;
  const auto begin = std::chrono::steady_clock::now();
  for (const Layer& layer : layers_) {
    for (const WeightId id : layer.ids) {
      const std::span<const PackedMatrix> parts = store.parts(id);
      DODECA_CHECK(parts.size() == 1 && !parts.front().reference, parts.size());
      const PackedMatrix& matrix = parts.front();
      bytes += matrix.bytes();
      if (matrix.bytes() < kPinnedBytes || !refusal.empty()) continue;
      try {
        ranges->ranges.push_back(device->register_host(matrix.data, (matrix.bytes() + kPage - 1) / kPage * kPage));
        pinned += matrix.bytes();
      } catch (const std::exception& error) {
        refusal = error.what();
      }
    }
  }
  if (!refusal.empty()) {
    // Copies of memory that is not pinned make the host wait for them.
    least_rows_ = -1;
    return log(Level::kWarning,
               fmt::format("experts do not stream to the device: only {:.2f} of {:.2f} GiB of them could be pinned: {}",
                           gib(pinned), gib(bytes), refusal));
  }
  store.lend(ranges);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  log(Level::kDetail, fmt::format("{:.2f} GiB of experts were pinned in {} pieces in {:.2f} s", gib(pinned),
                                  ranges->ranges.size(), took.count()));
}

void StreamedExperts::begin_executor(std::int64_t most_rows) {
  if (layers_.empty()) return;
  most_rows_ = most_rows;
  const auto pairs = static_cast<std::size_t>(most_rows * config_.n_experts_per_tok);
  lists_ = device_.allocate_pinned((2 * pairs + 2 * static_cast<std::size_t>(config_.n_routed_experts)) *
                                   sizeof(std::int32_t));
}

void StreamedExperts::begin_pass(std::int64_t n_rows) {
  streaming_ = least_rows_ >= 0 && n_rows >= least_rows_;
  n_rows_ = n_rows;
  taken_.clear();
  prefetched_.clear();
  if (!streaming_) return;
  ++totals_.passes;
  schedule_ = StreamSchedule(shape_.n_buffers);
  prefetch(layers_.front());
}

void StreamedExperts::prefetch(const Layer& layer) {
  prefetched_ = waves_ahead(config_.n_routed_experts, config_.n_experts_per_tok, n_rows_, shape_, layer.rates,
                            seconds_ahead(layer));
  std::size_t step = schedule_.prefetch(layer.layer, std::ssize(prefetched_));
  for (const std::vector<std::int32_t>& wave : prefetched_) copy(layer, schedule_.steps()[step++], wave);
}

void StreamedExperts::copy(const Layer& layer, const StreamStep& step, std::span<const std::int32_t> experts) {
  const auto at = static_cast<std::size_t>(step.buffer);
  if (step.wave >= shape_.n_buffers) device_.wait(copies_, multiplied_[at]);
  const auto matrices = layer.weights.all();
  const std::uint64_t places[] = {0, layer.up, layer.down};
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const PackedMatrix& from = store_->parts(layer.ids[i]).front();
    const std::uint64_t bytes = matrices[i]->slice_bytes;
    std::byte* to = buffer(step.buffer) + places[i];
    // Neighbours in memory go together.
    for (std::size_t e = 0; e < experts.size();) {
      std::size_t end = e + 1;
      while (end < experts.size() && experts[end] == experts[end - 1] + 1) ++end;
      device_.copy_to_device(copies_, to, from.slice(experts[e]), (end - e) * bytes);
      to += (end - e) * bytes;
      totals_.bytes += (end - e) * bytes;
      e = end;
    }
  }
  device_.record(copied_[at], copies_);
}

// f(first, end, slots) for runs of a wave's experts whose rows find room in the work space.
template <class F>
void StreamedExperts::for_launches(const Wave& wave, F&& f) const {
  for (std::size_t first = 0; first < wave.experts.size();) {
    std::int64_t n_slots = wave.n_rows[first];
    std::size_t end = first + 1;
    for (; end < wave.experts.size() && n_slots + wave.n_rows[end] <= most_rows_; ++end) n_slots += wave.n_rows[end];
    f(first, end, n_slots);
    first = end;
  }
}

// Lists in the order of the launches: the slots of an expert have its rows, ascending.
void StreamedExperts::send_lists(const DeviceOps& ops, const Division& division, std::span<const std::int32_t> ids) {
  auto* const rows = reinterpret_cast<std::int32_t*>(lists_.data());
  const auto pairs = static_cast<std::size_t>(most_rows_ * config_.n_experts_per_tok);
  std::int32_t *const terms = rows + pairs, *const begins = terms + pairs;
  std::vector<std::int32_t> next(taken_.size(), -1);  // slot of each expert
  std::int32_t slot = 0;
  std::size_t n_begins = 0;
  for (const Wave& wave : division.waves) {
    for_launches(wave, [&](std::size_t first, std::size_t end, std::int64_t) {
      const std::int32_t base = slot;
      for (std::size_t i = first; i < end; ++i) {
        begins[n_begins++] = slot - base;
        next[static_cast<std::size_t>(wave.experts[i])] = slot;
        slot += wave.n_rows[i];
      }
      begins[n_begins++] = slot - base;
    });
  }
  DODECA_CHECK(n_begins <= 2 * taken_.size(), n_begins);
  for (std::size_t pair = 0; pair < ids.size(); ++pair) {
    std::int32_t& at = next[static_cast<std::size_t>(ids[pair])];
    terms[pair] = at < 0 ? -1 : at;
    if (at >= 0) rows[at++] = static_cast<std::int32_t>(pair / static_cast<std::size_t>(config_.n_experts_per_tok));
  }
  const auto send = [&](DeviceArray array, const std::int32_t* from, std::size_t n) {
    if (n > 0) device_.copy_to_device(stream_, ops.space().array<std::int32_t>(array), from, n * sizeof(std::int32_t));
  };
  send(DeviceArray::kStreamRows, rows, static_cast<std::size_t>(slot));
  send(DeviceArray::kStreamTerms, terms, ids.size());
  send(DeviceArray::kStreamBegin, begins, n_begins);
  slot_ = begin_ = 0;
}

void StreamedExperts::begin_layer(const DeviceOps& ops, std::int64_t layer_index, std::span<const std::int32_t> ids) {
  taken_.clear();
  if (!streaming_ || place_of_[static_cast<std::size_t>(layer_index)] < 0) return;
  const Layer& layer = layer_of(layer_index);
  rows_of_.assign(static_cast<std::size_t>(config_.n_routed_experts), 0);
  for (const std::int32_t id : ids) ++rows_of_[static_cast<std::size_t>(id)];
  const Division division =
      divide_experts(rows_of_, shape_, layer.rates, {.waves = prefetched_, .seconds = seconds_ahead(layer)});
  taken_.assign(rows_of_.size(), 0);
  ++totals_.layers;
  totals_.rows_of_host += std::ssize(ids);
  for (const Wave& wave : division.waves) {
    for (const std::int32_t expert : wave.experts) taken_[static_cast<std::size_t>(expert)] = 1;
    totals_.rows += wave.rows();
    totals_.rows_of_host -= wave.rows();
  }
  send_lists(ops, division, ids);
  const std::size_t first_step = schedule_.steps().size();
  schedule_.add_layer(layer_index, std::ssize(division.waves));
  std::size_t copied = prefetched_.size(), multiplied = 0;
  for (std::size_t i = first_step; i < schedule_.steps().size(); ++i) {
    const StreamStep& step = schedule_.steps()[i];
    if (step.work == StreamWork::kCopy) copy(layer, step, division.waves[copied++].experts);
    if (step.work == StreamWork::kMultiply) multiply(ops, layer, step, division.waves[multiplied++]);
  }
  prefetched_.clear();
  const auto next = static_cast<std::size_t>(place_of_[static_cast<std::size_t>(layer_index)]) + 1;
  if (next < layers_.size()) prefetch(layers_[next]);
}

void StreamedExperts::multiply(const DeviceOps& ops, const Layer& layer, const StreamStep& step, const Wave& wave) {
  const auto at = static_cast<std::size_t>(step.buffer);
  device_.wait(stream_, copied_[at]);
  const DeviceSpace& space = ops.space();
  for_launches(wave, [&](std::size_t first, std::size_t end, std::int64_t n_slots) {
    ExpertWeights weights = layer.weights;
    const auto place = [&](DeviceMatrix& matrix, std::uint64_t bytes) {
      matrix.data = buffer(step.buffer) + bytes + first * matrix.slice_bytes;
    };
    place(weights.gate, 0);
    place(weights.up, layer.up);
    place(weights.down, layer.down);
    if (n_slots > 0) {
      const std::int32_t most = *std::max_element(wave.n_rows.begin() + static_cast<std::ptrdiff_t>(first),
                                                  wave.n_rows.begin() + static_cast<std::ptrdiff_t>(end));
      launch_expert_products(ops, weights, space.rows(exec::RowBuffer::kInput),
                             {.rows = space.array<std::int32_t>(DeviceArray::kStreamRows) + slot_,
                              .n_slots = n_slots,
                              .n_groups = static_cast<std::int64_t>(end - first),
                              .group_rows = most,
                              .group_begin = space.array<std::int32_t>(DeviceArray::kStreamBegin) + begin_});
      add_expert_terms(ops,
                       {.slots = space.array<std::int32_t>(DeviceArray::kStreamTerms),
                        .first = static_cast<std::int32_t>(slot_),
                        .end = static_cast<std::int32_t>(slot_ + n_slots),
                        .weights = space.array<float>(DeviceArray::kExpertWeights),
                        .n_used = config_.n_experts_per_tok},
                       space.rows(exec::RowBuffer::kOutput), n_rows_, config_.hidden_size, true);
    }
    slot_ += n_slots;
    begin_ += static_cast<std::int64_t>(end - first) + 1;
  });
  device_.record(multiplied_[at], stream_);
}

}  // namespace dodeca::runtime::device
