// The way out: the last norm of the rows that are wanted, and their products with the output matrix. Layers of
// multi-token prediction may have both of their own, and have the model's otherwise.
#pragma once

#include "runtime/exec/block.hpp"

namespace dodeca::runtime::exec {

class Head final : public Block {
 public:
  Head(const Model& model, const BlockPlan& plan);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);

  std::span<const Phase> phases(const Pass&) const override { return phases_; }
  std::span<const float> norm() const override { return norm_; }
  std::span<const std::int32_t> output_parts() const override { return {}; }
  RowBuffer input_buffer() const override { return RowBuffer::kHeadInput; }
  std::int64_t input_of(const Pass& pass, std::int64_t row) const override;

 private:
  void project(const Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) const;
  void add_regions(const Pass& pass, std::vector<Region>& regions) const;  // each part's logits

  WeightId output_id_;
  std::span<const PackedMatrix> output_;  // by rows
  std::span<const float> norm_;
  std::vector<TileLoad> loads_;
  std::vector<Phase> phases_;
};

}  // namespace dodeca::runtime::exec
