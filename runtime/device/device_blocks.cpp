#include "runtime/device/device_blocks.hpp"

#include <fmt/core.h>

#include <utility>

#include "runtime/device/block_builder.hpp"

namespace dodeca::runtime::device {

DeviceBlocks::DeviceBlocks(std::shared_ptr<gpu::Device> device, const Plan& plan, const Offload& offload, Log log)
    : state_(std::make_unique<DeviceState>(std::move(device), plan, offload)), log_(std::move(log)) {}
DeviceBlocks::~DeviceBlocks() = default;

void DeviceBlocks::take(const WeightPlan& weight, const WeightStore& store) { state_->weights.take(weight, store); }

std::unique_ptr<exec::CacheLayer> DeviceBlocks::make_cache_layer(std::int64_t layer, std::int64_t n_blocks) {
  const std::vector<std::int64_t> layers = state_->attention_layers();
  if (layer == layers.front()) {  // of another executor than the one before
    state_->end_executor();
    state_->cache.reset();
    state_->cache =
        std::make_unique<DeviceCache>(*state_->device, state_->stream,
                                      cache_shape(state_->plan.config, state_->offload.cache_type), layers, n_blocks);
  }
  return state_->cache->view(layer);
}

std::vector<std::unique_ptr<exec::Block>> DeviceBlocks::make_blocks(const Model& model, const exec::RunSizes& sizes,
                                                                    exec::KvCache& cache, exec::Workspace& space) {
  DeviceState::Ranges ranges = state_->begin_executor(sizes, cache, space);
  state_->hot.read_from(model.weights());
  state_->streamed.read_from(model.weights(), state_->device, log_);
  return build_blocks(*state_, model, space, std::move(ranges));
}

void DeviceBlocks::set_sides(Sides sides) { state_->sides = sides; }
HotExpertTotals DeviceBlocks::hot_experts() const { return state_->hot.totals(); }
StreamTotals DeviceBlocks::streamed() const { return state_->streamed.totals(); }

void DeviceBlocks::abandon() noexcept {
  Meeting& meeting = *state_->meeting;
  meeting.drain(state_->stream);
  meeting.failure = nullptr;
  meeting.bad_layer = kNoLayer;
}

void DeviceBlocks::check() {
  Meeting& meeting = *state_->meeting;
  const std::int64_t layer = std::exchange(meeting.bad_layer, kNoLayer);
  if (meeting.failure != nullptr) {
    meeting.drain(state_->stream);
    try {
      std::rethrow_exception(std::exchange(meeting.failure, nullptr));
    } catch (const std::exception& error) {
      throw Error(ErrorKind::kIo, error.what());
    }
  }
  if (layer != kNoLayer)
    throw Error(ErrorKind::kBadFile,
                fmt::format("an activation became NaN or infinite in layer {} or before it, on the device", layer));
}

}  // namespace dodeca::runtime::device
