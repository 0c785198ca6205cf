// One micro-batch on its way through the layers, and the executors that a layer is made of: attention; dense, shared
// and routed feed-forward. Each runs inside the team's region on all members; between their phases stand barriers,
// eight in a layer when one token is generated.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/team.hpp"
#include "runtime/exec/input_sums.hpp"
#include "runtime/exec/kv_cache.hpp"
#include "runtime/exec/rows.hpp"
#include "runtime/exec/trace.hpp"
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
  Trace* trace = nullptr;
  InputSums* sums = nullptr;

  std::int64_t n() const { return static_cast<std::int64_t>(rows.size()); }
  const ModelConfig& config() const { return weights.config; }
  // Rows of both kinds share a pass only where that makes no difference (executor.cpp).
  bool prompt() const { return rows.front().prompt; }
  InputSums::Layer* sums_of(std::int64_t layer) const {
    return sums == nullptr ? nullptr : &sums->layers[static_cast<std::size_t>(layer)];
  }
  // All members, after the barrier that ends the phase; bytes() says what it read.
  template <class F>
  void end_phase(const cpu::Member& member, Phase phase, F&& bytes) const {
    if (trace != nullptr && member.index == 0) trace->end(phase, bytes());
  }
};

// Ends a phase whose results are finished one by one (norms, rope, quantizing): f(i) for i < count, then `last` once,
// then everyone goes on. The last member to arrive finishes a single row, because that takes less time than another
// barrier.
template <class F, class Last>
void finish(const cpu::Member& member, std::int64_t count, F&& f, Last&& last) {
  if (count == 1) {
    member.barrier([&] {
      f(0);
      last();
    });
    return;
  }
  member.barrier();
  const cpu::Range mine = member.part(count);
  for (std::int64_t i = mine.begin; i < mine.end; ++i) f(i);
  member.barrier(last);
}
template <class F>
void finish(const cpu::Member& member, std::int64_t count, F&& f) {
  finish(member, count, f, [] {});
}

// Products of all rows of the pass with tiles of a whole weight, dealt over the members: out[row] from acts[row].
void project(const Pass& pass, const cpu::Member& member, const PackedMatrix& weight, const Activations& acts,
             const Activations& out, std::int64_t out_offset = 0) noexcept;

// Adds every row of the pass to `input`: slice k's part begins k * step floats after the row.
void add_inputs(const Pass& pass, const cpu::Member& member, InputSums::Input& input, const Activations& rows,
                std::int64_t step = 0) noexcept;

// Normalizes row i of x into `normed`, in every format that is read there. `point` says where we are, for the note of
// the first non-finite row: twice the layer before attention, one more before the feed-forward block.
void normalize_row(const Pass& pass, std::int64_t i, const std::vector<float>& weight, std::int64_t point) noexcept;

// normed = attention(normed), cache rows written. Reads `normed` complete; whoever comes next waits at a barrier.
void attention_mla(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept;
void attention_gqa(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept;

// x += ffn(normed): routed experts and the shared one, or the dense block. The same about waiting; `normed` is lost.
void feed_forward(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept;
// Bytes of weights that the last phase of a feed_forward reads, for the trace.
std::uint64_t down_bytes(const Pass& pass, std::int64_t layer) noexcept;

// Running result of a softmax-weighted sum, [n_heads] maxima, [n_heads] sums, [n_heads, width] values.
struct SoftmaxState {
  float *max, *sum, *acc;
};
// Folds `part` into `into`: the values are rescaled to the common maximum.
void merge_softmax(const SoftmaxState& into, const SoftmaxState& part, std::int64_t n_heads,
                   std::int64_t width) noexcept;

}  // namespace dodeca::runtime
