// One micro-batch on its way through the blocks: its rows, and the memory that they use.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/crews.hpp"
#include "cpu/team.hpp"
#include "runtime/exec/exchange.hpp"
#include "runtime/exec/kv_cache.hpp"
#include "runtime/exec/rows.hpp"
#include "runtime/exec/workspace.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime::exec {

// How latent attention cuts the context of a row: `count` chunks of `length` positions (the last may be shorter), each
// folded into a result of its own; results are merged in order. It depends on the row's own position alone, so that the
// bits do not depend on how the work was split; rows of a RowGroup share the length. Chunks times groups of 16 heads
// feed 64 members (V3 from 64 positions on), and where chunks are long enough 192; each costs a merge, and the loading of
// its positions where few groups share it.
struct ContextCut {
  std::int64_t length = 0, count = 0;
};
ContextCut context_cut(const ModelConfig& config, std::int64_t position);
// The most chunks of a row in a cache of `n_positions`, in whole blocks.
std::int64_t most_chunks(const ModelConfig& config, std::int64_t n_positions);
// How many positions of [position, end) are taken at once: whole blocks of the cache up to `most`, or the rest of one.
inline std::int64_t positions_at_once(std::int64_t position, std::int64_t end, std::int64_t most) {
  const std::int64_t inside = position % cpu::kContextBlock;
  return std::min(end - position, inside == 0 ? most : cpu::kContextBlock - inside);
}
struct ContextChunk {
  std::size_t group = 0;  // in Pass::groups
  std::int64_t index = 0;
  std::int64_t first_strip = 0;  // of the heads of a part
};

// Rows up to which reading weights is the work, and what follows a product is done by whoever completes a block of it.
inline constexpr std::int64_t kFewRows = 8;
// Positions, from a multiple of it on, of rows of one sequence that share the decoding of a cache block.
inline constexpr std::int64_t kRowGroup = 8;

// Whether a cache of so many positions holds more than the indexers choose.
inline bool may_be_sparse(const ModelConfig& config, std::int64_t n_positions) {
  const std::int64_t held = (n_positions + cpu::kContextBlock - 1) / cpu::kContextBlock * cpu::kContextBlock;
  return config.indexer.n_heads > 0 && held > config.indexer.top_k;
}

// Consecutive rows of one sequence at consecutive positions between multiples of kRowGroup; a sparse row is alone.
struct RowGroup {
  std::int64_t first = 0, count = 0;
};

struct Pass {
  // drafts: through layers of multi-token prediction, which attend to all positions.
  Pass(const ModelConfig& model, cpu::Isa level, KvCache& kv_cache, Workspace& workspace, const cpu::Crews& its_crews,
       std::span<const Row> its_rows, bool drafts = false);

  const ModelConfig& config;
  const cpu::Isa isa;
  KvCache& cache;
  Workspace& space;
  const cpu::Crews& crews;
  const std::span<const Row> rows;
  std::vector<RowGroup> groups;
  std::vector<std::int64_t> first_partial;  // [rows + 1] index of a row's first context chunk among all
  std::vector<std::int64_t> wanted;         // rows whose last norm is needed
  std::vector<std::int32_t> logit_rows;     // of `wanted`
  float* logits = nullptr;                  // [logit_rows, vocab]
  std::span<const float> hidden;            // [rows, hidden] the residual stream as it comes in; empty: from tokens
  Exchange* exchange = nullptr;             // with the processes of other parts; null: all parts are here
  std::vector<Region> regions;              // of what is exchanged now
  bool cut_off = false;                     // an exchange failed, or somebody stopped it: the pass ends with the phase

  // Distinct experts that rows were routed to, and layers with experts: sums over the pass.
  std::int64_t experts_touched = 0, expert_layers = 0;
  bool traced = false;
  std::uint64_t alone_ns = 0;  // time in which one member worked and all others waited, since it was last set to 0

  std::int64_t n() const { return static_cast<std::int64_t>(rows.size()); }
  const Row& row(std::int64_t i) const { return rows[i]; }
  // Rows of both kinds share a pass only where that makes no difference (executor.cpp).
  bool prompt() const { return rows.front().prompt; }
  bool few() const { return few_; }  // and all of them generated ones
  // Sparse attention: whether row i sees more positions than its layers' indexers choose; such a row attends to those
  // whose numbers lie in kChosen, and its context is cut as if they were positions 0 to top_k - 1.
  bool is_sparse(std::int64_t i) const { return top_k_ > 0 && row(i).position >= top_k_; }
  bool any_sparse() const { return any_sparse_; }
  // The last position of the context that row i attends to.
  std::int64_t last_attended(std::int64_t i) const { return is_sparse(i) ? top_k_ - 1 : row(i).position; }
  std::int32_t* chosen(std::int64_t i) const { return space.array<std::int32_t>(ArrayBuffer::kChosen) + i * top_k_; }
  Activations& buffer(RowBuffer which) const { return space.rows(which); }
  // Bytes of cached rows that the pass attends to in a layer, each sequence's once.
  std::uint64_t cache_bytes(std::int64_t layer) const;

 private:
  std::int64_t top_k_;  // 0: every row attends to all positions
  bool few_, any_sparse_ = false;
};

// Adds the time of its life to a traced pass's alone_ns.
class AloneTimer {
 public:
  explicit AloneTimer(Pass& pass) : pass_(pass.traced ? &pass : nullptr) {
    if (pass_ != nullptr) begin_ = Clock::now();
  }
  ~AloneTimer() {
    if (pass_ != nullptr) pass_->alone_ns += static_cast<std::uint64_t>((Clock::now() - begin_).count());
  }
  AloneTimer(const AloneTimer&) = delete;
  AloneTimer& operator=(const AloneTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;  // nanoseconds
  Pass* pass_;
  Clock::time_point begin_ = {};
};

}  // namespace dodeca::runtime::exec
