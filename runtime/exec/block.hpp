// A model is a list of blocks, and a block is a list of phases: what a barrier ends. A block reads normalized rows
// (kInput) and leaves what is to be added to the residual stream (kOutput); the norms between blocks, the residual sums
// and everything that only watches belong to the executor.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "runtime/exec/phase.hpp"
#include "runtime/weights/model.hpp"

namespace dodeca::runtime::exec {

class Block {
 public:
  explicit Block(const BlockPlan& plan) : plan_(plan) {}
  virtual ~Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  const BlockPlan& plan() const { return plan_; }
  // In order; the list may depend on the kind and number of the rows. The last phase of a block with an output has no
  // `finish`; where it finishes blocks, these are of kBlockColumns columns of kOutput, and everyone waits at its end.
  virtual std::span<const Phase> phases(const Pass& pass) const = 0;
  // Weight of the norm before the block; empty: it reads none.
  virtual std::span<const float> norm() const { return {}; }
  // The parts whose rows of kOutput are to be added to the residual stream, ascending; none: nothing is.
  virtual std::span<const std::int32_t> output_parts() const { return {&kFirstPart, 1}; }
  // The rows that the block reads, and where they are normalized to: all of the pass in kInput, but for the head. A row
  // of its input holds the normalized row but for one factor (Activations::factor).
  virtual RowBuffer input_buffer() const { return RowBuffer::kInput; }
  virtual std::int64_t input_of(const Pass&, std::int64_t row) const { return row; }  // -1: it does not read the row

 private:
  static constexpr std::int32_t kFirstPart = 0;
  const BlockPlan& plan_;
};

// The parts of a block that have something of a weight which is cut by columns.
std::vector<std::int32_t> parts_with(std::span<const PackedMatrix> pieces);
// Adds the rows of kOutput of a block's parts, in their order: columns of row i of part 0 become the sum.
void sum_parts(const Pass& pass, std::span<const std::int32_t> parts, std::int64_t i,
               const cpu::Range& columns) noexcept;

// The same rows, where parts are in processes of their own.
void add_output_regions(const Pass& pass, std::span<const std::int32_t> parts, std::vector<Region>& regions);

// All phases of a block, by all members of a team: from kInput to kOutput.
void run_block(const Block& block, Pass& pass, const cpu::Member& member);

// What the block demands of the work space.
void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);
// All blocks of a plan that run.
Demand demand_of(const Plan& plan, const RunSizes& sizes);
// The block that a plan describes, on the placed weights of its model.
std::unique_ptr<Block> make_block(const Model& model, const BlockPlan& plan);
// The way out of a layer of multi-token prediction, whose way in make_block() gives.
std::unique_ptr<Block> make_mtp_head(const Model& model, const BlockPlan& plan);

// ---- for blocks ----------------------------------------------------------------------------------------------------

// The plans of a block's weights by role; null: the model has none.
class PlannedWeights {
 public:
  PlannedWeights(const Plan& plan, const BlockPlan& block) : plan_(plan), block_(block) {}
  const WeightPlan* operator[](WeightRole role) const;

 private:
  const Plan& plan_;
  const BlockPlan& block_;
};

// The columns of its parts of kOutput that a member writes where a block deals them itself.
cpu::Range own_columns(const Pass& pass, const cpu::Member& member);

// Products of the pass's rows with tiles of one part of a weight, its rows at their place from column `out_begin` on.
struct Projection {
  const PackedMatrix& weight;
  cpu::Range tiles;
  RowBuffer acts, out;
  std::int64_t out_begin = 0;
  bool with_factors = true;                   // of the rows (Activations::factor)
  std::int64_t first_act = 0, first_out = 0;  // the buffers' rows of the pass's first row
};                                            // a piece of a weight reads its own columns
void project(const Pass& pass, const cpu::Member& member, const Projection& projection);

// What a load of tiles of a part is, whose results are columns of a row of the whole weight.
TileLoad load_of(const PackedMatrix& part);

// 1 / sqrt(mean square + eps) of row i, from the sums of squares of its blocks (kSquares).
float inverse_norm(const Pass& pass, std::int64_t i, std::int64_t n);
float& squares_of(const Pass& pass, std::int64_t i, std::int64_t block);

// A tap of the pass's rows in a buffer.
Tap tap_rows(WeightRole role, RowBuffer buffer);

}  // namespace dodeca::runtime::exec
