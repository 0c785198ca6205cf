// The two products of a feed-forward block, y = down(silu(gate x) * up x): for the rows of one expert, of the shared one
// or of a dense block, and for one part of it.
#pragma once

#include <cstdint>

#include "runtime/exec/block.hpp"

namespace dodeca::runtime {

// Slots [begin, end): which rows go through an expert, and where their intermediate results lie.
struct SlotRange {
  std::int64_t begin = 0, end = 0;
  const std::int32_t* act_rows = nullptr;  // null: row i for slot i
  std::int64_t count() const { return end - begin; }
  std::int64_t row_of(std::int64_t slot) const { return act_rows == nullptr ? slot : act_rows[slot]; }
};

struct GateUp {
  const PackedMatrix &gate, &up;
  std::int64_t slice = 0;
  cpu::Range tiles;
  SlotRange slots;
  RowBuffer hidden;                // silu(gate x) * up x, [hidden_offset + slot]
  std::int64_t hidden_offset = 0;  // rows
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
};
// Adds weight * down(h) to the columns of the tiles in the rows of kOutput.
void add_down(const Pass& pass, const cpu::Member& member, const Down& product) noexcept;

// Sets the member's columns of all rows of kOutput to zero; false when it has none.
bool clear_own_columns(const Pass& pass, const cpu::Member& member) noexcept;

}  // namespace dodeca::runtime
