// The projection that ends an attention block: from the heads' results (kHeads) to kOutput, parts of the heads added in
// their order, plus the bias.
#pragma once

#include "runtime/exec/block.hpp"

namespace dodeca::runtime {

class OutputProjection {
 public:
  // bias may be empty.
  OutputProjection(std::span<const PackedMatrix> parts, std::span<const float> bias);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);

  // Row i's results of heads in the formats that the parts read; `block`: of the part's columns.
  void quantize(const Pass& pass, std::int64_t i) const noexcept;
  void quantize_block(const Pass& pass, std::size_t part, std::int64_t block) const noexcept;
  Phase phase() const;

 private:
  bool whole() const { return parts_.size() == 1; }
  void project(const Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) const;
  void deal(const Pass& pass, const cpu::Member& member) const;
  void add_bias(const Pass& pass, const cpu::Range& columns) const;

  std::span<const PackedMatrix> parts_;
  std::span<const float> bias_;
  std::vector<TileLoad> loads_;
};

}  // namespace dodeca::runtime
