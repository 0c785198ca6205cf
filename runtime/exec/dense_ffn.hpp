// A dense feed-forward block, and the shared expert of a routed one, which is the same thing.
#pragma once

#include "runtime/exec/block.hpp"
#include "runtime/exec/ffn_products.hpp"
#include "runtime/exec/pieced_projection.hpp"

namespace dodeca::runtime::exec {

class DenseFfn final : public Block {
 public:
  struct Roles {
    WeightRole gate, up, down;
  };
  static constexpr Roles kDense{WeightRole::kGate, WeightRole::kUp, WeightRole::kDown};
  static constexpr Roles kShared{WeightRole::kSharedGate, WeightRole::kSharedUp, WeightRole::kSharedDown};

  // first_piece: of gate and up among all pieces of their phase.
  DenseFfn(const Model& model, const BlockPlan& plan, const Roles& roles, std::int64_t first_piece = 0);
  static void add_demand(const PlannedWeights& weights, const Roles& roles, const RunSizes& sizes, Demand& demand);

  std::span<const Phase> phases(const Pass&) const override { return phases_; }
  std::span<const float> norm() const override { return norm_; }
  std::span<const std::int32_t> output_parts() const override { return parts_; }

  // For blocks that run these products beside others. Without weights (a model may have no shared expert) nothing
  // happens. Few rows: pieces of gate and up are loads, multiplied by run_gate_up(); finish_gate_up() makes a block of the
  // hidden row. The pieces of down leave rows of their part in kPartSums, from `first_row` on.
  std::span<const TileLoad> gate_up_loads() const { return gate_up_loads_; }
  void run_gate_up(const Pass& pass, const cpu::Member& member, std::size_t load, const cpu::Range& tiles) const;
  void finish_gate_up(const Pass& pass, std::int64_t block) const;
  std::span<const TileLoad> down_loads() const { return down_loads_; }
  void run_down(const Pass& pass, const cpu::Member& member, std::size_t piece, const cpu::Range& tiles,
                std::int64_t first_row) const;
  void add_down_pieces(const Pass& pass, std::int64_t part, std::int64_t block, std::int64_t first_row,
                       bool accumulate) const;
  // Many rows: tiles of gate and up together of one part, and a row behind them; down goes to the member's columns of its
  // parts of kOutput.
  std::span<const TileLoad> pair_loads() const { return pair_loads_; }
  void gate_up_tiles(const Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) const;
  void quantize_row(const Pass& pass, std::int64_t i) const;
  void add_down_columns(const Pass& pass, const cpu::Member& member) const;
  std::uint64_t gate_up_bytes() const;
  std::uint64_t down_bytes() const;
  std::uint64_t down_macs() const;  // of one row

 private:
  PiecedProjection gate_, up_;
  std::span<const PackedMatrix> down_;  // pieces
  std::vector<std::int64_t> widths_;    // of the hidden rows of the parts
  std::vector<std::int32_t> parts_;     // that have some
  std::span<const float> norm_;
  std::vector<TileLoad> gate_up_loads_, pair_loads_, down_loads_;
  std::vector<std::int64_t> first_block_;  // per part, of the blocks of hidden rows
  std::vector<Phase> phases_;
};

}  // namespace dodeca::runtime::exec
