// Runs rows through a model: the one forward pass, a loop over blocks and their phases. Owns the KV cache and all work
// space, sized when made for its team; forward() fails for bad rows, a full cache, NaN activations, want of memory,
// and what a device reports, and for nothing else. A row's result does not depend on the team's size nor on the rows beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "cpu/team.hpp"
#include "runtime/base/log.hpp"
#include "runtime/exec/block.hpp"
#include "runtime/exec/kv_cache.hpp"
#include "runtime/exec/rows.hpp"
#include "runtime/exec/workspace.hpp"
#include "runtime/weights/model.hpp"

namespace dodeca::runtime::exec {

struct Trace;      // trace.hpp
struct InputSums;  // input_sums.hpp

// What runs the blocks that a plan has placed on a device.
class BlockMaker {
 public:
  virtual ~BlockMaker() = default;
  // The rows of a layer whose attention it runs.
  virtual std::unique_ptr<CacheLayer> make_cache_layer(std::int64_t layer, std::int64_t n_blocks) = 0;
  // All blocks of a pass in order, up to the head. Model, cache and work space live as long as the blocks.
  virtual std::vector<std::unique_ptr<Block>> make_blocks(const Model& model, const RunSizes& sizes, KvCache& cache,
                                                          Workspace& space) = 0;
  // Behind every pass, when the team is at rest: throws what went wrong in it.
  virtual void check() = 0;
  // Behind a pass that ended early, instead: lets what it left to be done come to its end, and throws nothing.
  virtual void abandon() noexcept = 0;
};

struct ExecutorOptions {
  std::int64_t n_positions = 8192;  // cache capacity over all sequences
  std::int32_t n_sequences = 1;
  std::int64_t micro_batch = 512;  // rows per pass; longer calls are cut
  quant::DType cache_type = quant::DType::kF16;
  std::optional<quant::DType> value_cache_type = {};  // of grouped queries' values; nothing: as the keys
  bool integer_attention = true;                      // as KvCacheOptions
  std::vector<std::vector<int>> cache_copies = {{}};  // the same
  // Takes the block of a plan and gives what runs instead (a block elsewhere, an observer); empty: all as planned.
  // Not asked where there is a device.
  std::function<std::unique_ptr<Block>(std::unique_ptr<Block>)> replace = {};
  std::shared_ptr<BlockMaker> device = {};  // of plans with blocks on a device
  std::shared_ptr<Exchange> exchange = {};  // of plans of which one part is here (PlanOptions::here)

  KvCacheOptions cache_options(const Plan& plan) const;
  RunSizes sizes() const { return {micro_batch, n_positions, n_sequences}; }
};

// Layers that a call runs. The first begin from tokens or from hidden rows, the last ends in logits and the last norm;
// in between the residual stream goes in and comes out, as between ranks of a pipeline.
struct LayerRange {
  std::int64_t begin = 0, end = 0;
};

// What is seen behind a block: its residual stream, the executor's own team at rest.
using BlockObserver = std::function<void(const BlockPlan& block, const Pass& pass)>;

class Executor {
 public:
  Executor(const Model& model, cpu::Team& team, const ExecutorOptions& options);
  ~Executor();
  // Cache and work space, from the plan alone: known before anything is loaded.
  static std::uint64_t bytes_needed(const Plan& plan, const ExecutorOptions& options, int n_threads);

  const Plan& plan() const;
  const ModelConfig& config() const { return plan().config; }
  KvCache& cache();
  // Where what happens to numbers is told: once, when the cache had to cut values down. Default: nowhere.
  void set_log(Log log);
  // Adds the times of the phases of all further passes to `trace`; null: no more. Results are the same.
  void set_trace(Trace* trace);
  // Adds the inputs of every weight in all further passes to `sums`; null: no more. Not for models cut into parts.
  void set_input_sums(InputSums* sums);
  // Called behind every block of all further passes; empty: no more.
  void set_observer(BlockObserver observer);
  // Asked behind every block of further passes that take long, those of more than kFewRows rows: where it is true, forward()
  // and forward_layers() throw Stopped, and leave every sequence as it was. Called by any member of the team. Not asked by
  // draft(), nor where several processes share a pass. Empty: nobody is asked.
  void set_stop(std::function<bool()> stop);
  // Every row's position must equal its sequence's cached length plus the rows of that sequence before it in this call;
  // the rows are appended to the cache. Throws Error{kDoesNotFit} before touching anything when they do not fit,
  // Error{kBadRequest} for bad tokens or positions, Error{kBadFile} naming the layer when an activation becomes NaN or
  // infinite. `team` overrides the one given at construction (prompt and generation may use different sizes); results
  // are the same.
  void forward(std::span<const Row> rows, ForwardOutput& out, cpu::Team* team = nullptr);
  // The same for some layers. `hidden` is the residual stream of the rows [rows, hidden] in front of layers.begin,
  // wanted where that is not 0. out.residual gets it behind layers.end where that is not the last; logits and the last
  // norm come from the last alone.
  void forward_layers(std::span<const Row> rows, const LayerRange& layers, std::span<const float> hidden,
                      ForwardOutput& out, cpu::Team* team = nullptr);

  // The first layer of multi-token prediction, of plans that have it. `hidden` is what forward() gave out as hidden for
  // the rows' positions, or what draft() itself gave for them where drafts follow drafts, [rows, hidden]. Logits predict
  // the token behind Row::token. Rows of a sequence are at consecutive positions; those below its cached length
  // are written again, in this layer alone, and those behind it are appended without the main layers' rows: the
  // caller cuts them off again before it goes on. Throws as forward(), and leaves the lengths as they were.
  bool can_draft() const;
  void draft(std::span<const Row> rows, std::span<const float> hidden, ForwardOutput& out, cpu::Team* team = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dodeca::runtime::exec
