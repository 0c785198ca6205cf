// Sums of squares of what the weights are multiplied with, column by column: how much each column of a weight matters
// for its outputs. Collected inside the forward pass for importance matrices; routed experts have sums of their own,
// attn_k_b and attn_v_b one per head. In float64: a column sums over all tokens of a calibration text.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/team.hpp"
#include "runtime/exec/multiply.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime {

struct InputSums {
  // The input of one weight, or of several that read the same rows.
  struct Input {
    std::int64_t n_in = 0, n_slices = 0;
    std::vector<double> sums;    // [n_slices, n_in]
    std::vector<double> counts;  // [n_slices] rows that were added

    Input() = default;
    Input(std::int64_t in, std::int64_t slices)
        : n_in(in),
          n_slices(slices),
          sums(static_cast<std::size_t>(in * slices)),
          counts(static_cast<std::size_t>(slices)) {}
    // One row of a slice. All members call it; each adds the columns that are its own, so nothing is shared and the
    // order of a sum is that of the calls.
    void add(const cpu::Member& member, std::int64_t slice, const float* row) noexcept;
  };
  struct Layer {
    Input attention;              // of q_a (or q) and kv_a
    Input q_b;                    // where there is one
    Input k_b, v_b;               // [heads]
    Input output;                 // output projection
    Input feed_forward;           // of the router, the shared expert's or the dense block's gate and up
    Input dense_down;             // of the shared expert's or the dense block's down
    Input experts, experts_down;  // [experts]; of gate and up, of down
  };

  explicit InputSums(const ModelConfig& config);
  static std::uint64_t bytes_needed(const ModelConfig& config);

  std::vector<Layer> layers;
  Input head;  // of the output matrix, rows that want logits
};

}  // namespace dodeca::runtime
