// Feed-forward blocks on a device: dense ones and shared experts, routing, and routed experts where they lie there.
#pragma once

#include "runtime/device/device_ops.hpp"
#include "runtime/device/hot_experts.hpp"

namespace dodeca::runtime::device {

// gate, up and down of a dense block or of the shared expert.
class DeviceDense {
 public:
  DeviceDense(const BlockPlan& plan, const DeviceWeights& weights, WeightRole gate, WeightRole up, WeightRole down);
  explicit operator bool() const { return static_cast<bool>(gate_); }
  // From kInput to kOutput.
  void launch(const DeviceOps& ops, std::int64_t n) const;

 private:
  DeviceMatrix gate_, up_, down_;
};

class DeviceFfn {
 public:
  // hot: the layer's slots for experts, or null.
  DeviceFfn(const ModelConfig& config, const BlockPlan& plan, const DeviceWeights& weights,
            const HotExperts::Layer* hot);

  // kResidual (+= addition, null: none), normalized, to kInput; for routed blocks kExpertIds and kExpertWeights too.
  void begin(const DeviceOps& ops, std::int64_t n, const DeviceRows* addition) const;
  // From kInput to kOutput: the dense block, or the shared expert (false: there is none).
  bool launch_dense(const DeviceOps& ops, std::int64_t n) const;
  // The chosen experts, which lie on the device, added to kOutput or, where nothing is in it, put there.
  void launch_experts(const DeviceOps& ops, std::int64_t n, bool accumulate) const;
  // Those of the chosen experts that have a slot, added to kOutput; few rows.
  void launch_hot_experts(const DeviceOps& ops, std::int64_t n) const;

 private:
  void route(const DeviceOps& ops, std::int64_t n) const;
  const ModelConfig& config_;
  const float *norm_, *router_bias_;
  DeviceMatrix router_;
  ExpertWeights experts_;
  const HotExperts::Layer* hot_;
  DeviceDense dense_;
};

}  // namespace dodeca::runtime::device
