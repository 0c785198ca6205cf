// Routed experts that stream to a device in passes of many rows, beside those that the processors compute: the waves of
// stream_schedule.hpp on a stream of copies and the stream of the forward pass. Weights go straight from where the loader
// put them, in the tiles that both sides read, pinned, with no copy in between; what cannot be pinned does not stream.
//
// A layer's experts are divided when its ids are known. What comes first in the next layer is copied before that: the first
// experts, whatever rows they will have. So what is computed where depends on a pass's rows alone, not on passes before it
// and not on time.
#pragma once

#include <memory>
#include <vector>

#include "runtime/base/log.hpp"
#include "runtime/device/expert_products.hpp"
#include "runtime/device/offload.hpp"
#include "runtime/device/stream_schedule.hpp"

namespace dodeca::runtime::device {

// The first layer of routed experts that a device multiplies, wherever they lie; null: none. What is measured and named of a
// plan is about it.
const BlockPlan* first_streamable(const Plan& plan);

// Bytes of the buffers on a device that a plan's waves need; 0: nothing streams.
std::uint64_t stream_buffer_bytes(const Plan& plan, std::int64_t n_buffers);
// An expert's weights in one layer.
std::uint64_t expert_bytes(const Plan& plan, const BlockPlan& block);
std::uint64_t expert_macs(const ModelConfig& config);  // for one row

// What the experts of a layer take at these speeds.
StreamRates stream_rates(const Plan& plan, const BlockPlan& block, const StreamSpeeds& speeds);
// Seconds that the link has for copies ahead of a layer in a pass of n_rows: the device's products with the weights of its
// attention.
double seconds_ahead(const Plan& plan, std::int64_t layer, const StreamSpeeds& speeds, std::int64_t n_rows);
// Rows of a pass from which on a plan's experts stream; -1: never.
std::int64_t least_streamed_rows(const Plan& plan, const Offload& offload);

// Since the beginning.
struct StreamTotals {
  std::int64_t passes = 0, layers = 0;      // that streamed
  std::int64_t rows = 0, rows_of_host = 0;  // (row, expert) pairs of those, on either side
  std::uint64_t bytes = 0;                  // over the link
};

class StreamedExperts {
 public:
  StreamedExperts(gpu::Device& device, const gpu::Stream& stream, const Plan& plan, const Offload& offload);
  ~StreamedExperts();
  StreamedExperts(const StreamedExperts&) = delete;
  StreamedExperts& operator=(const StreamedExperts&) = delete;

  // Where experts are copied from; outlives what is done in passes. Pins what is not pinned yet, and says how long that took.
  void read_from(const WeightStore& store, const std::shared_ptr<gpu::Device>& device, const Log& log);
  // Passes of up to so many rows, with this work space on the device.
  void begin_executor(std::int64_t most_rows);

  // ---- in a pass ------------------------------------------------------------------------------------------------------
  void begin_pass(std::int64_t n_rows);
  // The ids of all rows are known, and the device has done everything before them: launches what is to stream in `layer`,
  // added to kOutput, and the first copies of the next layer.
  void begin_layer(const DeviceOps& ops, std::int64_t layer, std::span<const std::int32_t> ids);
  // Whether the device computes the expert in the layer that was begun last.
  bool takes(std::int64_t expert) const { return !taken_.empty() && taken_[static_cast<std::size_t>(expert)] != 0; }

  const StreamTotals& totals() const { return totals_; }

 private:
  struct Layer {
    std::int64_t layer = 0;
    ExpertWeights weights;           // of a wave, from the beginning of a buffer
    std::uint64_t up = 0, down = 0;  // bytes from there
    std::array<WeightId, 3> ids;
    StreamRates rates;
    double ahead_row = 0;  // seconds_ahead() of one row
  };
  Layer& layer_of(std::int64_t layer) {
    return layers_[static_cast<std::size_t>(place_of_[static_cast<std::size_t>(layer)])];
  }
  std::byte* buffer(std::int64_t index) const {
    return memory_.data() + static_cast<std::uint64_t>(index) * buffer_bytes_;
  }
  double seconds_ahead(const Layer& layer) const { return layer.ahead_row * static_cast<double>(n_rows_); }
  void prefetch(const Layer& layer);
  void copy(const Layer& layer, const StreamStep& step, std::span<const std::int32_t> experts);
  void send_lists(const DeviceOps& ops, const Division& division, std::span<const std::int32_t> ids);
  template <class F>
  void for_launches(const Wave& wave, F&& f) const;
  void multiply(const DeviceOps& ops, const Layer& layer, const StreamStep& step, const Wave& wave);

  gpu::Device& device_;
  const gpu::Stream& stream_;
  const ModelConfig& config_;
  StreamShape shape_;
  std::int64_t least_rows_ = -1;
  gpu::DeviceMemory memory_;
  std::uint64_t buffer_bytes_ = 0;
  gpu::Stream copies_;
  std::vector<gpu::Event> copied_, multiplied_;  // [buffer]
  std::vector<Layer> layers_;
  std::vector<std::int64_t> place_of_;  // [layers] -1: nothing streams
  const WeightStore* store_ = nullptr;
  gpu::PinnedMemory lists_;
  std::int64_t most_rows_ = 0, n_rows_ = 0;

  bool streaming_ = false;  // in this pass
  StreamSchedule schedule_{1};
  std::vector<std::vector<std::int32_t>> prefetched_;  // waves of the next layer
  std::vector<std::int32_t> rows_of_;                  // [experts] in the layer that was begun last
  std::vector<char> taken_;                            // [experts]; empty: none are
  // Of the layer that was begun last, the part of the lists that the next launch reads.
  std::int64_t slot_ = 0, begin_ = 0;
  StreamTotals totals_;
};

}  // namespace dodeca::runtime::device
