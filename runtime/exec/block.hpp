// A model is a list of blocks, and a block is a list of phases: what a barrier ends. A block reads normalized rows
// (kInput) and leaves what is to be added to the residual stream (kOutput); the norms between blocks, the residual sums
// and everything that only watches belong to the executor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/exec/pass.hpp"
#include "runtime/weights/model.hpp"

namespace dodeca::runtime {

// What a phase reads and multiplies, for the trace; experts: distinct ones, where it is about them.
struct Work {
  std::uint64_t bytes = 0;
  std::uint64_t expert_macs = 0, experts = 0;
};

// Rows that a weight of this role was multiplied with, given out after the phase: slice, row of floats.
using RowSink = std::function<void(std::int64_t slice, const float* row)>;
struct Tap {
  WeightRole role;  // names the input (BlockPlan::inputs)
  std::function<void(const Pass&, const RowSink&)> rows;
};

struct Phase {
  std::string_view name;
  // What all members do, each its share.
  std::function<void(Pass&, const cpu::Member&)> deal;
  // What is finished one by one when all have done so (norms, rope, quantizing): n_items, by default the rows.
  std::function<void(Pass&, std::int64_t item)> finish = {};
  std::function<std::int64_t(const Pass&)> n_items = {};
  std::function<void(Pass&)> last = {};  // once, behind all items, before anyone goes on
  std::function<Work(const Pass&)> work = {};
  std::vector<Tap> taps = {};
};

class Block {
 public:
  explicit Block(const BlockPlan& plan) : plan_(plan) {}
  virtual ~Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  const BlockPlan& plan() const { return plan_; }
  // In order; the list may depend on the kind and number of the rows. The last phase of a block with an output finishes
  // nothing row by row, and leaves it so that every member has written the columns of its own share (own_columns).
  virtual std::span<const Phase> phases(const Pass& pass) const = 0;
  // Weight of the norm before the block; empty: it reads none.
  virtual std::span<const float> norm() const { return {}; }
  // Whether kOutput is to be added to the residual stream.
  virtual bool has_output() const { return true; }
  // The rows that the block reads, and where they are normalized to: all of the pass in kInput, but for the head.
  virtual std::int64_t n_inputs(const Pass& pass) const { return pass.n(); }
  virtual std::int64_t input_row(const Pass&, std::int64_t i) const { return i; }
  virtual RowBuffer input_buffer() const { return RowBuffer::kInput; }

 private:
  const BlockPlan& plan_;
};

// A phase's items: f(i) for i < count, then `last` once, then everyone goes on. One row in the pass: the last member to
// arrive does it all, because that takes less time than another barrier; more: they are dealt.
template <class F, class Last>
void finish_items(const Pass& pass, const cpu::Member& member, std::int64_t count, F&& f, Last&& last) {
  if (pass.n() == 1) {
    member.barrier([&] {
      for (std::int64_t i = 0; i < count; ++i) f(i);
      last();
    });
    return;
  }
  if (count > 0) {
    member.barrier();
    const cpu::Range mine = member.part(count);
    for (std::int64_t i = mine.begin; i < mine.end; ++i) f(i);
  }
  member.barrier(last);
}
// Ends a phase as it says.
void end_phase(const Phase& phase, Pass& pass, const cpu::Member& member);
// All phases of a block, by all members of a team: from kInput to kOutput.
void run_block(const Block& block, Pass& pass, const cpu::Member& member);

// What the block demands of the work space.
void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);
// All blocks of a plan that run.
Demand demand_of(const Plan& plan, const RunSizes& sizes);
// The block that a plan describes, on the placed weights of its model.
std::unique_ptr<Block> make_block(const Model& model, const BlockPlan& plan);

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

// Tiles of one weight that a phase deals.
struct TileLoad {
  std::int64_t n_tiles = 0;
  std::uint64_t tile_bytes = 0;
};

// f(load, tiles): the member's share of the tiles of all loads, taken as one list and cut by bytes.
template <class F>
void deal_tiles(const cpu::Member& member, std::span<const TileLoad> loads, F&& f) {
  std::int64_t all = 0;
  for (const TileLoad& load : loads) all += load.n_tiles * static_cast<std::int64_t>(load.tile_bytes);
  const std::int64_t begin = all * member.index / member.size, end = all * (member.index + 1) / member.size;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    const auto bytes = static_cast<std::int64_t>(loads[i].tile_bytes);
    const auto tile_at = [&](std::int64_t x) {
      return std::clamp<std::int64_t>((x - first + bytes / 2) / bytes, 0, loads[i].n_tiles);
    };
    if (loads[i].n_tiles > 0) {
      const cpu::Range tiles{begin <= first ? 0 : tile_at(begin), end <= first ? 0 : tile_at(end)};
      if (tiles.begin < tiles.end) f(i, tiles);
    }
    first += loads[i].n_tiles * bytes;
  }
}

// The columns of kOutput that a member writes, and adds to the residual stream.
cpu::Range own_columns(const cpu::Member& member, std::int64_t hidden_size);

// Products of the pass's rows with tiles of one part of a weight, its rows at their place from column `out_begin` on.
struct Projection {
  const PackedMatrix& weight;
  cpu::Range tiles;
  RowBuffer acts, out;
  std::int64_t out_begin = 0;
};
void project(const Pass& pass, const cpu::Member& member, const Projection& projection);

// A tap of the pass's rows in a buffer.
Tap tap_rows(WeightRole role, RowBuffer buffer);

}  // namespace dodeca::runtime
