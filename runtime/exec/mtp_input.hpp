// The way into a layer of multi-token prediction (DeepSeek-V3 report, section 2.2). A row has the hidden state of its
// position behind the last norm (Pass::hidden) and the token that follows it; both normalized, the token's embedding
// first, go through one projection, with which the residual stream begins. What follows is a layer like the others, and a
// head: from the row of position p and token p + 1 they predict token p + 2.
#pragma once

#include "runtime/exec/token_rows.hpp"

namespace dodeca::runtime::exec {

class MtpInput final : public Block {
 public:
  MtpInput(const Model& model, const BlockPlan& plan);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);

  std::span<const Phase> phases(const Pass&) const override { return phases_; }
  std::span<const std::int32_t> output_parts() const override { return {}; }

 private:
  void join(const Pass& pass, const cpu::Member& member, std::int64_t i) const;

  TokenRows tokens_;
  Rotation rotation_;
  std::span<const float> token_norm_, hidden_norm_;
  std::span<const PackedMatrix> projection_;  // by rows
  std::vector<TileLoad> loads_;
  std::vector<Phase> phases_;
};

}  // namespace dodeca::runtime::exec
