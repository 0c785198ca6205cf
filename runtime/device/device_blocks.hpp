// The part of the forward pass that runs on a device, as blocks of an executor.
//
// A segment is a run of blocks on the device in which the residual stream stays there: it goes in at the beginning
// (kResidual) and comes out at the end, as the stream or, behind the head, as logits. Inside, a routed feed-forward block
// whose experts are in memory hands normalized rows, ids and weights to the processors and takes the experts' sums back,
// while the device computes the shared expert. Both sides meet through two flags in pinned memory: no call of the driver
// is waited for. A segment is launched stretch by stretch, with few rows each one while the device still works on the one
// before.
#pragma once

#include <memory>

#include "gpu/device.hpp"
#include "runtime/device/expert_use.hpp"
#include "runtime/device/offload.hpp"
#include "runtime/device/streamed_experts.hpp"
#include "runtime/exec/executor.hpp"

namespace dodeca::runtime::device {

struct DeviceState;

// For measuring a side alone: what it computes is then not the model's.
enum class Sides {
  kBoth,
  kDevice,      // the experts in memory are left out; everything meets as always
  kProcessors,  // nothing is launched or waited for; experts as the last pass of both chose them
};

class DeviceBlocks final : public exec::BlockMaker {
 public:
  // Allocates room for the weights that the plan has on the device. `plan` and `offload` are kept by value; `log` hears how
  // long it took to pin what streams.
  DeviceBlocks(std::shared_ptr<gpu::Device> device, const Plan& plan, const Offload& offload, Log log);
  ~DeviceBlocks() override;

  // A weight that was just loaded: copied, if the device wants it.
  void take(const WeightPlan& weight, const WeightStore& store);

  std::unique_ptr<exec::CacheLayer> make_cache_layer(std::int64_t layer, std::int64_t n_blocks) override;
  std::vector<std::unique_ptr<exec::Block>> make_blocks(const Model& model, const exec::RunSizes& sizes,
                                                        exec::KvCache& cache, exec::Workspace& space) override;
  // Throws Error{kIo} for what the device reported, Error{kBadFile} naming the layer for NaN or infinity.
  void check() override;
  void abandon() noexcept override;

  void set_sides(Sides sides);
  // How many choices the experts in slots of the device took (hot_experts.hpp), and how often one was swapped in.
  HotExpertTotals hot_experts() const;
  // What streamed to the device in passes of many rows (streamed_experts.hpp).
  StreamTotals streamed() const;

 private:
  std::unique_ptr<DeviceState> state_;
  Log log_;
};

}  // namespace dodeca::runtime::device
