// What the ways into a model share: a token's row of the embedding, and the rotation of a row's position.
#pragma once

#include <vector>

#include "runtime/exec/block.hpp"

namespace dodeca::runtime::exec {

// Looks tokens up in a table, or in the head where that is tied to the embedding.
class TokenRows {
 public:
  TokenRows(const Model& model, WeightId table);
  static void add_demand(const WeightPlan* table, Demand& demand);

  // The embedding of a token as floats, [hidden].
  void look_up(const Pass& pass, const cpu::Member& member, std::int64_t token, float* out) const;
  std::size_t row_bytes() const;

 private:
  const RowTable* table_;               // null: tied to the head
  std::span<const PackedMatrix> tied_;  // by rows
};

// cos and sin of positions, which all layers of a pass share (kAngles).
class Rotation {
 public:
  explicit Rotation(const ModelConfig& config) : inv_freq_(config.inv_freq()) {}
  void rotate(const Pass& pass, std::int64_t i) const;  // of row i

 private:
  std::vector<double> inv_freq_;
};

}  // namespace dodeca::runtime::exec
