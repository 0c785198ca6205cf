// The way in: a row's token as its embedding, and the rotation of its position, which all layers share. The residual
// stream begins here; rows that come in as hidden states (executor.hpp) only get their rotation.
#pragma once

#include "runtime/exec/token_rows.hpp"

namespace dodeca::runtime::exec {

class Embedding final : public Block {
 public:
  Embedding(const Model& model, const BlockPlan& plan);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);

  std::span<const Phase> phases(const Pass&) const override { return phases_; }
  std::span<const std::int32_t> output_parts() const override { return {}; }

 private:
  TokenRows tokens_;
  Rotation rotation_;
  std::vector<Phase> phases_;
};

}  // namespace dodeca::runtime::exec
