// Launches of a device's kernels on one stream, in the words of the forward pass. Nothing waits here.
#pragma once

#include "runtime/device/device_space.hpp"
#include "runtime/device/device_weights.hpp"

namespace dodeca::runtime::device {

// n rows of a buffer times a weight. With groups, group g has its own slice of the weight and its own rows of acts.
struct DeviceProduct {
  const DeviceMatrix& weight;
  const DeviceRows& acts;
  float* out = nullptr;
  std::int64_t out_stride = 0;  // floats
  std::int64_t n_rows = 0;
  bool with_factors = true;                // of the activation rows
  const std::int32_t* act_rows = nullptr;  // which activation row feeds a row; null: row i
  std::int64_t n_groups = 1;
  const std::int32_t* slices = nullptr;       // of the groups; null: g
  const std::int32_t* group_begin = nullptr;  // rows of the groups; null: all have the rows [0, n_rows)
  std::int64_t act_rows_per_row = 1;  // groups: rows of the buffer from one row to the next, and from group to group
  std::int64_t act_rows_per_group = 0;
  std::int64_t out_group_stride = 0;  // floats
};

// rows of `x` += an addition, times a norm's weight into `out`, with its factors and copies. The first n columns.
struct DeviceNorm {
  const DeviceRows& x;
  const DeviceRows& out;  // may be x
  const float* weight = nullptr;
  std::int64_t n_rows = 0, n = 0;
  float eps = 0.0f;
  const DeviceRows* addition = nullptr;  // rows of their own, or a bias for all; null both: nothing is added
  const float* bias = nullptr;
};

class DeviceOps {
 public:
  DeviceOps(gpu::Device& device, const gpu::Stream& stream, const DeviceSpace& space, std::int32_t multiprocessors)
      : device_(device), stream_(stream), space_(space), multiprocessors_(multiprocessors) {}

  gpu::Device& device() const { return device_; }
  const gpu::Stream& stream() const { return stream_; }
  const DeviceSpace& space() const { return space_; }

  void multiply(const DeviceProduct& product) const;
  void weigh(const DeviceNorm& norm) const;
  // What a block begins with: n rows of kResidual (+= addition, null: none), normalized, to kInput.
  void normalize_residual(const ModelConfig& config, const float* norm, std::int64_t n,
                          const DeviceRows* addition) const;
  // Copies of the first n columns.
  void quantize(const DeviceRows& x, std::int64_t n_rows, std::int64_t n) const;
  // silu(gate) * up into `out` and its copies.
  void swiglu(const DeviceRows& gate, const DeviceRows& up, const DeviceRows& out, std::int64_t n_rows,
              std::int64_t n) const;
  // out += in; rows of device or of pinned memory, in_stride 0: one row for all.
  void add(const DeviceRows& out, const float* in, std::int64_t in_stride, std::int64_t n_rows, std::int64_t n) const;

 private:
  gpu::Device& device_;
  const gpu::Stream& stream_;
  const DeviceSpace& space_;
  std::int32_t multiprocessors_;
};

// Work space of a product that is split over blocks of the device, for n rows of each of `n_groups`: floats, counters.
struct SplitSpace {
  std::size_t sums = 0, counters = 0;
};
SplitSpace split_space(const DeviceMatrix& weight, std::int64_t n_rows, std::int64_t n_groups,
                       std::int32_t multiprocessors);

}  // namespace dodeca::runtime::device
