// Grouped-query attention, in float32. A cache row holds, for each key-value head, its value and its key side by side;
// with a query padded by zeros over the value part, the block kernel of latent attention computes it unchanged:
// "latent" = value, "rope" = key.
#pragma once

#include "runtime/exec/output_projection.hpp"

namespace dodeca::runtime::exec {

class GqaAttention final : public Block {
 public:
  GqaAttention(const Model& model, const BlockPlan& plan);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);

  std::span<const Phase> phases(const Pass&) const override { return phases_; }
  std::span<const float> norm() const override { return norm_; }
  std::span<const std::int32_t> output_parts() const override { return output_.parts(); }

 private:
  void project_inputs(Pass& pass, const cpu::Member& member, std::size_t load, const cpu::Range& tiles) const;
  void write_cache_row(Pass& pass, std::int64_t i) const;
  void attend(Pass& pass, const cpu::Member& member) const;

  std::span<const PackedMatrix> q_, k_, v_;  // one per part
  std::span<const float> norm_;
  std::vector<std::int64_t> part_of_, first_of_;  // [kv heads] its part, and that part's first
  std::vector<TileLoad> loads_;                   // of q, v and k
  OutputProjection output_;
  std::vector<Phase> phases_;
};

}  // namespace dodeca::runtime::exec
