// A dense feed-forward block, and the shared expert of a routed one, which is the same thing.
#pragma once

#include "runtime/exec/block.hpp"
#include "runtime/exec/ffn_products.hpp"

namespace dodeca::runtime {

class DenseFfn final : public Block {
 public:
  struct Roles {
    WeightRole gate, up, down;
  };
  static constexpr Roles kDense{WeightRole::kGate, WeightRole::kUp, WeightRole::kDown};
  static constexpr Roles kShared{WeightRole::kSharedGate, WeightRole::kSharedUp, WeightRole::kSharedDown};

  DenseFfn(const Model& model, const BlockPlan& plan, const Roles& roles);
  static void add_demand(const PlannedWeights& weights, const Roles& roles, std::int64_t n_parts, const RunSizes& sizes,
                         Demand& demand);

  std::span<const Phase> phases(const Pass&) const override { return phases_; }
  std::span<const float> norm() const override { return norm_; }

  // For blocks that run these products beside others. Without weights (a model may have no shared expert) nothing
  // happens.
  std::span<const TileLoad> loads() const { return loads_; }  // of gate and up, one per part
  void gate_up_tiles(const Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) const;
  void quantize_row(const Pass& pass, std::int64_t i) const;
  void add_down_columns(const Pass& pass, const cpu::Member& member) const;  // to kOutput, the member's columns
  std::uint64_t gate_up_bytes() const;
  std::uint64_t down_bytes() const;
  std::uint64_t down_macs() const;  // of one row

 private:
  std::span<const PackedMatrix> gate_, up_, down_;  // one per part
  std::span<const float> norm_;
  std::vector<TileLoad> loads_;
  std::vector<Phase> phases_;
};

}  // namespace dodeca::runtime
