// The projection that ends an attention block: from the heads' results (kHeads) to each part's rows of kOutput, the
// pieces of a part added in their order, plus the bias in the first part.
#pragma once

#include "runtime/exec/block.hpp"

namespace dodeca::runtime::exec {

class OutputProjection {
 public:
  // bias may be empty.
  OutputProjection(std::span<const PackedMatrix> pieces, std::span<const float> bias);
  static void add_demand(const WeightPlan& weight, const RunSizes& sizes, Demand& demand);

  // Row i's results of heads in the formats that the parts read; `block`: of the part's columns.
  void quantize(const Pass& pass, std::int64_t i) const noexcept;
  void quantize_block(const Pass& pass, std::size_t part, std::int64_t block) const noexcept;
  std::int64_t width(std::size_t part) const { return widths_[part]; }
  Phase phase() const;
  std::span<const std::int32_t> parts() const { return parts_; }

 private:
  bool whole() const { return pieces_.size() == 1; }
  void project(const Pass& pass, const cpu::Member& member, std::size_t piece, const cpu::Range& tiles) const;
  void deal(const Pass& pass, const cpu::Member& member) const;
  void add_bias(const Pass& pass, std::int64_t part, const cpu::Range& columns) const;

  std::span<const PackedMatrix> pieces_;
  std::vector<std::int64_t> widths_;  // of the parts
  std::vector<std::int32_t> parts_;   // that have heads
  std::span<const float> bias_;
  std::vector<TileLoad> loads_;
};

}  // namespace dodeca::runtime::exec
