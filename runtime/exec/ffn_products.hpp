// The two products of a feed-forward block, y = down(activation(gate x, up x)), silu(gate x) * up x mostly: for the
// rows of one expert, of the shared one or of a dense block, and for one part of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "runtime/exec/block.hpp"

namespace dodeca::runtime::exec {

// Slots [begin, end): which rows go through an expert, and where their intermediate results lie.
struct SlotRange {
  std::int64_t begin = 0, end = 0;
  const std::int32_t* act_rows = nullptr;  // null: row i for slot i
  std::int64_t count() const { return end - begin; }
  std::int64_t row_of(std::int64_t slot) const { return act_rows == nullptr ? slot : act_rows[slot]; }
};

// What an expert adds to its products, one value for each of their columns; null: nothing.
struct GateUpBias {
  const float *gate = nullptr, *up = nullptr;
};

struct GateUp {
  std::span<const PackedMatrix> gate, up;  // the pieces of one part
  std::int64_t slice = 0;
  cpu::Range tiles;
  SlotRange slots;
  RowBuffer hidden;                // of the activation, [hidden_offset + slot]
  std::int64_t hidden_offset = 0;  // rows
  GateUpBias bias = {};            // from the part's first row on
};
void gate_up(const Pass& pass, const cpu::Member& member, const GateUp& product) noexcept;

struct Down {
  const PackedMatrix& down;
  std::int64_t slice = 0;
  cpu::Range tiles;
  SlotRange slots;
  RowBuffer hidden;  // as in GateUp, quantized
  std::int64_t hidden_offset = 0;
  const float* slot_weights = nullptr;  // null: 1
  const float* bias = nullptr;          // added before the weight; null: none
};
// Adds weight * down(h) to the columns of the tiles in the rows of the part in kOutput.
void add_down(const Pass& pass, const cpu::Member& member, const Down& product) noexcept;

// Columns [begin, end) of a block of a row of `width`.
inline cpu::Range columns_of(std::int64_t block, std::int64_t width) {
  return {block * kBlockColumns, std::min(width, (block + 1) * kBlockColumns)};
}
// A block of columns of a row of a part of a hidden buffer, whose whole rows have `width`.
struct HiddenBlock {
  std::int64_t part, row, block, width;
};
// It becomes the activation of the same row of kGate and kUp, to which the bias of the part is added before, and is
// quantized.
void activate_block(const Pass& pass, const HiddenBlock& at, RowBuffer hidden, const GateUpBias& bias = {}) noexcept;
// y += x, n values; x null: nothing happens.
void add_bias(float* y, const float* x, std::int64_t n) noexcept;
// y += weight * x, n values of a block.
void add_weighted(float* y, const float* x, float weight, std::int64_t n) noexcept;
// The member's columns of its parts of kOutput = (or, accumulate: +=) the products of all pieces of each part of a weight
// that is cut by columns, in their order, with the part's rows of `acts`.
void project_parts(const Pass& pass, const cpu::Member& member, std::span<const PackedMatrix> pieces, RowBuffer acts,
                   bool accumulate) noexcept;
// A block of columns of every row of a part of kOutput = (or, accumulate: +=) what the part's pieces of a weight that is
// cut by columns left in its rows of kPartSums, in their order: rows [piece of the part * rows + row], from `first_row` on.
struct PartSums {
  std::span<const PackedMatrix> pieces;
  std::int64_t first_row = 0;
  bool accumulate = false;
};
void add_pieces(const Pass& pass, const PartSums& sums, std::int64_t part, std::int64_t block) noexcept;
// The place of a piece among those of its part.
std::int64_t index_in_part(std::span<const PackedMatrix> pieces, std::size_t piece);
// The most pieces that a part of a weight has; 0 where there is none.
std::int64_t most_pieces(const WeightPlan* weight);

// Sets the member's columns of all rows of its parts of kOutput to zero.
void clear_own_columns(const Pass& pass, const cpu::Member& member) noexcept;

}  // namespace dodeca::runtime::exec
