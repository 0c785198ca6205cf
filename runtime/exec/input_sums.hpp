// Sums of squares of what the weights are multiplied with, column by column: how much each column of a weight matters
// for its outputs. Collected from the blocks' taps for importance matrices; routed experts have sums of their own,
// attn_k_b and attn_v_b one per head. In float64: a column sums over all tokens of a calibration text.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/team.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::exec {

struct InputSums {
  // The input of one weight, or of several that read the same rows.
  struct Input {
    std::int64_t layer = kNoLayer;
    std::vector<WeightRole> roles;
    std::int64_t n_in = 0, n_slices = 0;
    std::vector<double> sums;    // [n_slices, n_in]
    std::vector<double> counts;  // [n_slices] rows that were added

    // One row of a slice, times a factor. All members call it; each adds the columns that are its own, so nothing is shared and the
    // order of a sum is that of the calls.
    void add(const cpu::Member& member, std::int64_t slice, const float* row, float factor) noexcept;
  };

  // Of all blocks of a plan. Not for models cut into parts.
  explicit InputSums(const Plan& plan);
  static std::uint64_t bytes_needed(const Plan& plan);

  // The input that the weight reads; null: it is not among them.
  Input* find(WeightId weight);
  const Input* find(WeightId weight) const { return const_cast<InputSums*>(this)->find(weight); }

  std::vector<Input> inputs;
};

}  // namespace dodeca::runtime::exec
