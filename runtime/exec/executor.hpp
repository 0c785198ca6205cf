// Runs rows through a model: the one forward pass. Owns the KV cache and all work space, sized when made for its team;
// forward() cannot fail but for want of memory, a full cache and NaN activations. A row's result does not depend on the
// team's size nor on the rows beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "cpu/team.hpp"
#include "runtime/base/log.hpp"
#include "runtime/exec/kv_cache.hpp"
#include "runtime/exec/rows.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime {

struct Trace;      // trace.hpp
struct InputSums;  // input_sums.hpp

class Model;  // weights/model.hpp: placed weights, read-only, shared by executors

struct ExecutorOptions {
  std::int64_t n_positions = 8192;  // cache capacity over all sequences
  std::int32_t n_sequences = 1;
  std::int64_t micro_batch = 512;  // rows per pass; longer calls are cut
  quant::DType cache_type = quant::DType::kF16;
  bool integer_attention = true;  // as KvCacheOptions
  bool naive_mla = false;         // decompress keys and values per head instead of absorbing; slow, for tests

  KvCacheOptions cache_options() const { return {n_positions, n_sequences, cache_type, integer_attention}; }
};

class Executor {
 public:
  Executor(const Model& model, cpu::Team& team, const ExecutorOptions& options);
  ~Executor();
  // Cache and work space, from the configuration alone: known before anything is loaded.
  static std::uint64_t bytes_needed(const ModelConfig& config, const ExecutorOptions& options, int n_threads);

  const ModelConfig& config() const;
  KvCache& cache();
  // Where what happens to numbers is told: once, when the cache had to cut values down. Default: nowhere.
  void set_log(Log log);
  // Adds the times of the phases of all further passes to `trace`; null: no more. Results are the same.
  void set_trace(Trace* trace);
  // Adds the inputs of every weight in all further passes to `sums`; null: no more. Not for models cut into parts.
  void set_input_sums(InputSums* sums);
  // Every row's position must equal its sequence's cached length plus the rows of that sequence before it in this call;
  // the rows are appended to the cache. Throws Error{kDoesNotFit} before touching anything when they do not fit,
  // Error{kBadRequest} for bad tokens or positions, Error{kBadFile} naming the layer when an activation becomes NaN or
  // infinite. `team` overrides the one given at construction (prompt and generation may use different sizes); results
  // are the same.
  void forward(std::span<const Row> rows, ForwardOutput& out, cpu::Team* team = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dodeca::runtime
