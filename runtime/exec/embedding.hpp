// The way in: a row's token as its embedding, and the rotation of its position, which all layers share. The residual
// stream begins here; rows that come in as hidden states (executor.hpp) only get their rotation.
#pragma once

#include "runtime/exec/block.hpp"

namespace dodeca::runtime::exec {

class Embedding final : public Block {
 public:
  Embedding(const Model& model, const BlockPlan& plan);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);

  std::span<const Phase> phases(const Pass&) const override { return phases_; }
  std::span<const std::int32_t> output_parts() const override { return {}; }

  // cos and sin of row i's position.
  void rotate(const Pass& pass, std::int64_t i) const;

 private:
  void look_up(const Pass& pass, const cpu::Member& member, std::int64_t i) const;

  const RowTable* table_;               // null: tied to the head
  std::span<const PackedMatrix> tied_;  // by rows
  std::vector<double> inv_freq_;
  std::vector<Phase> phases_;
};

}  // namespace dodeca::runtime::exec
