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
  // happens. Few rows: gate and up are loads of their own, [2 * part] and [2 * part + 1], multiplied by run_gate_up();
  // finish_gate_up() makes a block of the hidden row. down's loads, one per part, leave rows of kPartSums, from
  // `first_row` on.
  std::span<const TileLoad> gate_up_loads() const { return gate_up_loads_; }
  std::int64_t n_gate_up_blocks() const { return n_blocks_; }
  void run_gate_up(const Pass& pass, const cpu::Member& member, std::size_t load, const cpu::Range& tiles) const;
  void finish_gate_up(const Pass& pass, std::int64_t block) const;
  std::span<const TileLoad> down_loads() const { return down_loads_; }
  void run_down(const Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles,
                std::int64_t first_row) const;
  // Many rows: all that a member does, and a row of gate and up behind it; down goes to the member's columns of kOutput.
  void deal_gate_up(const Pass& pass, const cpu::Member& member) const;
  void gate_up_tiles(const Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) const;
  void quantize_row(const Pass& pass, std::int64_t i) const;
  void add_down_columns(const Pass& pass, const cpu::Member& member) const;
  // Of gate and up together, one per part, for many rows.
  std::span<const TileLoad> pair_loads() const { return pair_loads_; }
  std::uint64_t gate_up_bytes() const;
  std::uint64_t down_bytes() const;
  std::uint64_t down_macs() const;  // of one row

 private:
  std::span<const PackedMatrix> gate_, up_, down_;  // one per part
  std::span<const float> norm_;
  std::vector<TileLoad> gate_up_loads_, pair_loads_, down_loads_;
  std::vector<std::int64_t> first_block_;  // per part, of the blocks of hidden rows
  std::int64_t n_blocks_ = 0;
  std::vector<Phase> phases_;
};

}  // namespace dodeca::runtime
