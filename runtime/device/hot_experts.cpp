#include "runtime/device/hot_experts.hpp"

#include <algorithm>
#include <cstring>

#include "quant/check.hpp"
#include "runtime/device/device_demand.hpp"
#include "runtime/exec/block.hpp"

namespace dodeca::runtime::device {
namespace {

// What is copied in one wait: some ten microseconds, less than a device needs for a layer.
constexpr std::uint64_t kStepBytes = 256 << 10;

std::uint64_t slots_bytes(const WeightPlan& weight, std::int64_t n_slots) {
  return aligned(unplaced_matrix(weight).slice_bytes * static_cast<std::uint64_t>(n_slots));
}

std::uint64_t table_bytes(std::int64_t n_layers, std::int64_t n_experts) {
  return aligned(static_cast<std::uint64_t>(n_layers * n_experts) * sizeof(std::int32_t));
}

}  // namespace

std::uint64_t hot_expert_bytes(const Plan& plan) {
  std::uint64_t bytes = 0;
  std::int64_t n_layers = 0;
  for (const BlockPlan& block : plan.blocks) {
    if (block.n_hot_experts == 0) continue;
    ++n_layers;
    for (const WeightPlan* weight : expert_plans(plan, block)) bytes += slots_bytes(*weight, block.n_hot_experts);
  }
  return bytes + table_bytes(n_layers, plan.config.n_routed_experts);
}

HotExperts::HotExperts(gpu::Device& device, const gpu::Stream& stream, const Plan& plan)
    : device_(device),
      stream_(stream),
      place_of_(static_cast<std::size_t>(plan.n_layers()), -1),
      n_experts_(plan.config.n_routed_experts) {
  std::int64_t n_slots = 0;
  for (const BlockPlan& block : plan.blocks) n_slots = std::max(n_slots, block.n_hot_experts);
  if (n_slots == 0) return;
  memory_ = device.allocate(hot_expert_bytes(plan));
  copies_ = device.make_stream();
  copied_ = device.make_event();
  std::byte* at = memory_.data();
  std::uint64_t largest = 0;
  for (const BlockPlan& block : plan.blocks) {
    if (block.n_hot_experts == 0) continue;
    place_of_[static_cast<std::size_t>(block.layer)] = std::ssize(places_);
    Place& place = places_.emplace_back();
    place.layer = block.layer;
    std::uint64_t expert_bytes = 0;
    const auto matrices = place.on_device.weights.all();
    const auto planned = expert_plans(plan, block);
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      const WeightPlan& weight = *planned[i];
      place.ids[i] = weight.id;
      *matrices[i] = unplaced_matrix(weight);
      matrices[i]->n_slices = block.n_hot_experts;
      matrices[i]->data = at;
      at += slots_bytes(weight, block.n_hot_experts);
      expert_bytes += matrices[i]->slice_bytes;
    }
    largest = std::max(largest, expert_bytes);
  }
  device_table_ = at;
  const std::uint64_t bytes = table_bytes(std::ssize(places_), n_experts_);
  table_ = device.allocate_pinned(bytes);
  staging_ = device.allocate_pinned(largest);
  use_ = std::make_unique<ExpertUse>(std::ssize(places_), n_experts_, n_slots);
  for (std::size_t i = 0; i < places_.size(); ++i)
    places_[i].on_device.slot_of =
        reinterpret_cast<const std::int32_t*>(device_table_) + static_cast<std::int64_t>(i) * n_experts_;
  send_table();
  device_.synchronize(stream_);
}

// A copy that is under way must not lose its memory.
HotExperts::~HotExperts() {
  if (!copies_) return;
  try {
    device_.synchronize(copies_);
  } catch (...) {  // the device is lost: nothing runs there
  }
}

const HotExperts::Layer* HotExperts::layer(std::int64_t layer) const {
  const std::int64_t place = place_of_[static_cast<std::size_t>(layer)];
  return place < 0 ? nullptr : &places_[static_cast<std::size_t>(place)].on_device;
}

const DeviceMatrix& HotExperts::matrix(const Place& place, std::size_t weight) const {
  return *place.on_device.weights.all()[weight];
}

void HotExperts::send_table() {
  auto* const table = reinterpret_cast<std::int32_t*>(table_.data());
  for (std::int64_t i = 0; i < std::ssize(places_); ++i) std::ranges::copy(use_->slot_of(i), table + i * n_experts_);
  device_.copy_to_device(stream_, device_table_, table, table_.bytes());
}

// Two passes behind the copy's beginning it is done, or the stream waits for what is left of it; a pass later nothing reads
// the pinned memory any more. When that is depends on passes alone, so that results do not depend on time.
void HotExperts::begin_pass(std::int64_t n_rows) {
  few_rows_ = n_rows <= exec::kFewRows;
  if (use_ == nullptr) return;
  if (swapping_ && swapping_->passes_since_sent >= 0 && ++swapping_->passes_since_sent == 2) {
    device_.wait(stream_, copied_);
    use_->enter(swapping_->swap);
    swapping_.reset();
    ++totals_.swaps;
    return send_table();
  }
  if (swapping_) return;
  const std::optional<ExpertUse::Swap> next = use_->next();
  if (!next) return;
  use_->leave(next->layer, next->slot);
  swapping_ = Swapping{.swap = *next};
  send_table();
}

void HotExperts::go_on() {
  if (!swapping_ || swapping_->passes_since_sent >= 0) return;
  Swapping& s = *swapping_;
  const Place& place = places_[static_cast<std::size_t>(s.swap.layer)];
  const DeviceMatrix& to = matrix(place, s.weight);
  const std::span<const PackedMatrix> parts = store_->parts(place.ids[s.weight]);
  DODECA_CHECK(parts.size() == 1 && parts.front().n_in == to.n_in, parts.size());
  const std::uint64_t tile_bytes = to.layout->tile_bytes(to.n_in);
  const std::int64_t n_tiles = static_cast<std::int64_t>(to.slice_bytes / tile_bytes),
                     n = std::min(n_tiles - s.tile, static_cast<std::int64_t>(kStepBytes / tile_bytes) + 1);
  write_tiles(parts.front(), to, s.swap.expert, {s.tile, s.tile + n}, staging_.data() + s.staged);
  s.tile += n;
  s.staged += static_cast<std::uint64_t>(n) * tile_bytes;
  if (s.tile < n_tiles) return;
  s.tile = 0;
  if (++s.weight == place.ids.size()) send_expert();
}

void HotExperts::send_expert() {
  const Place& place = places_[static_cast<std::size_t>(swapping_->swap.layer)];
  const std::byte* from = staging_.data();
  for (std::size_t i = 0; i < place.ids.size(); ++i) {
    const DeviceMatrix& to = matrix(place, i);
    device_.copy_to_device(
        copies_, const_cast<std::byte*>(to.data) + static_cast<std::uint64_t>(swapping_->swap.slot) * to.slice_bytes,
        from, to.slice_bytes);
    from += to.slice_bytes;
  }
  device_.record(copied_, copies_);
  swapping_->passes_since_sent = 0;
}

void HotExperts::count(std::int64_t layer, std::span<const std::int32_t> experts) {
  if (use_ == nullptr || place_of_[static_cast<std::size_t>(layer)] < 0) return;
  const std::int64_t n = use_->count(place_of_[static_cast<std::size_t>(layer)], experts);
  if (!few_rows_) return;
  totals_.chosen += std::ssize(experts);
  totals_.on_device += n;
}

bool HotExperts::takes(std::int64_t layer, std::int64_t expert) const {
  if (!few_rows_ || use_ == nullptr) return false;
  const std::int64_t place = place_of_[static_cast<std::size_t>(layer)];
  return place >= 0 && use_->slot_of(place)[static_cast<std::size_t>(expert)] >= 0;
}

}  // namespace dodeca::runtime::device
