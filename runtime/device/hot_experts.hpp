// The routed experts that a run uses most, on a device beside those that are in memory: every layer has a number of slots
// (BlockPlan::n_hot_experts), and which expert is in which slot follows what is measured (expert_use.hpp). They compute the
// rows of passes of up to exec::kFewRows rows, which read every weight for little work; all experts of longer ones are
// computed in memory.
//
// One expert at a time is swapped in, without stalling anyone: while the host waits for the device, it copies some tiles to
// pinned memory; when all are there, a stream of its own takes them to the slot; the pass behind the next one uses it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "gpu/device.hpp"
#include "runtime/device/expert_products.hpp"
#include "runtime/device/expert_use.hpp"

namespace dodeca::runtime::device {

// Bytes that the slots of a plan's blocks need on a device, tables included; 0: there are none.
std::uint64_t hot_expert_bytes(const Plan& plan);

class HotExperts {
 public:
  // Room for the slots, all of them empty.
  HotExperts(gpu::Device& device, const gpu::Stream& stream, const Plan& plan);
  ~HotExperts();
  HotExperts(const HotExperts&) = delete;
  HotExperts& operator=(const HotExperts&) = delete;

  // Of a layer with slots: the weights, whose slices are the slots, and the table on the device (gpu/kernels/find_slots.hpp).
  struct Layer {
    ExpertWeights weights;
    const std::int32_t* slot_of = nullptr;
  };
  const Layer* layer(std::int64_t layer) const;  // null: no slots
  // Where experts are copied from; outlives what is done in passes.
  void read_from(const WeightStore& store) { store_ = &store; }

  // ---- in a pass; on the stream that reads the slots -----------------------------------------------------------------
  // Nothing of an earlier pass runs on the device any more. The slots are used for up to exec::kFewRows rows.
  void begin_pass(std::int64_t n_rows);
  // A small part of the swap that is under way.
  void go_on();
  void count(std::int64_t layer, std::span<const std::int32_t> experts);
  // Whether the device computes the expert in this pass.
  bool takes(std::int64_t layer, std::int64_t expert) const;

  // Since the beginning.
  const HotExpertTotals& totals() const { return totals_; }

 private:
  struct Place {  // of a layer
    std::int64_t layer = 0;
    Layer on_device;
    std::array<WeightId, 3> ids;
  };
  struct Swapping {
    ExpertUse::Swap swap;
    std::size_t weight = 0;  // of the three
    std::int64_t tile = 0;
    std::uint64_t staged = 0;  // bytes of the weights before and of this one's tiles
    int passes_since_sent = -1;
  };
  const DeviceMatrix& matrix(const Place& place, std::size_t weight) const;
  void send_table();
  void send_expert();

  gpu::Device& device_;
  const gpu::Stream& stream_;
  gpu::Stream copies_;
  gpu::Event copied_;
  gpu::DeviceMemory memory_;
  gpu::PinnedMemory table_, staging_;
  std::vector<Place> places_;
  std::vector<std::int64_t> place_of_;  // [layers] -1: no slots
  std::int64_t n_experts_ = 0;
  std::byte* device_table_ = nullptr;
  std::unique_ptr<ExpertUse> use_;
  const WeightStore* store_ = nullptr;
  std::optional<Swapping> swapping_;
  bool few_rows_ = false;
  HotExpertTotals totals_;
};

}  // namespace dodeca::runtime::device
