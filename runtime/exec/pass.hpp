// One micro-batch on its way through the layers, and the three executors that a layer is made of: attention, dense and
// shared feed-forward, routed experts. Each runs inside the team's region on all members; between their phases stand
// barriers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/team.hpp"
#include "runtime/exec/kv_cache.hpp"
#include "runtime/exec/rows.hpp"
#include "runtime/exec/workspace.hpp"
#include "runtime/weights/weights.hpp"

namespace dodeca::runtime {

// Consecutive rows of one sequence at consecutive positions, at most kRowGroup.
struct RowGroup {
  std::int64_t first = 0, count = 0;
};

struct Pass {
  const Weights& weights;
  KvCache& cache;
  Workspace& space;
  std::span<const Row> rows;
  std::vector<RowGroup> groups;
  std::vector<std::int64_t> first_partial;  // [rows + 1] index of a row's first context chunk among all
  bool naive_mla = false;

  std::int64_t n() const { return static_cast<std::int64_t>(rows.size()); }
  const ModelConfig& config() const { return weights.config; }
  // Rows of both kinds share a pass only where that makes no difference (executor.cpp).
  bool prompt() const { return rows.front().prompt; }
};

// Products of all rows of the pass with tiles of a whole weight, dealt over the members: out[row] from acts[row].
void project(const Pass& pass, const cpu::Member& member, const PackedMatrix& weight, const Activations& acts,
             const Activations& out, std::int64_t out_offset = 0) noexcept;

// Normalizes this member's rows of x into `normed`, in every format that is read there. `point` says where we are, for
// the note of the first non-finite row: twice the layer before attention, one more before the feed-forward block.
void normalize_rows(const Pass& pass, const cpu::Member& member, const std::vector<float>& weight,
                    std::int64_t point) noexcept;

// x += attention(norm(x)), cache rows written. Ends with a barrier.
void attention_mla(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept;
void attention_gqa(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept;

// x += ffn(norm(x)): routed experts and the shared one, or the dense block. Ends with a barrier.
void feed_forward(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept;

// Running result of a softmax-weighted sum, [n_heads] maxima, [n_heads] sums, [n_heads, width] values.
struct SoftmaxState {
  float *max, *sum, *acc;
};
// Folds `part` into `into`: the values are rescaled to the common maximum.
void merge_softmax(const SoftmaxState& into, const SoftmaxState& part, std::int64_t n_heads,
                   std::int64_t width) noexcept;

}  // namespace dodeca::runtime
