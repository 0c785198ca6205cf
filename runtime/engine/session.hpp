// From a model's weights to something that computes: the one place where source, worker threads, plan, placed weights,
// executor and engine are put together. Every command, the benchmark and the measurements of quantization begin here.
//
//   Session session(source, make_plan(*source, this_machine(), {}), Workers(0, 0, log), options, log);
//   Engine& engine = session.start_engine(vocabulary_of(tokenizer, session.config().vocab_size), engine_options);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "runtime/base/log.hpp"
#include "runtime/device/device_blocks.hpp"
#include "runtime/engine/engine.hpp"
#include "runtime/engine/forward_pass.hpp"
#include "runtime/engine/workers.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/weights/model.hpp"

namespace dodeca::runtime::engine {

struct SessionOptions {
  exec::ExecutorOptions executor = {};                // integer_attention and cache_copies are set from the plan
  std::uint64_t extra_bytes = 0;                      // of memory that the caller itself will ask for
  std::shared_ptr<device::DeviceBlocks> device = {};  // of a plan with blocks on a device
  Progress progress = {};                             // of loading: bytes read of all
  bool verify_placement = false;                      // every page's place is asked for, not that of samples alone
  bool allow_remote = false;                          // memory that lies elsewhere is a warning, no error
  // Of a plan of which one part is here, beside executor.exchange: LoadOptions::complete, and the pass around the
  // executor's that an engine gets.
  std::function<PlacedSum(const PlacedSum&)> complete = {};
  std::function<std::unique_ptr<ForwardPass>(std::unique_ptr<ForwardPass>)> wrap = {};
};

class Session {
 public:
  // Checks that weights, cache, work space and extra_bytes fit, tries the kernels, loads, says where the parts of the
  // model lie, makes the executor. Throws Error{kDoesNotFit} before reading when memory is short, and behind it when parts
  // lie elsewhere than planned; Stopped when progress returned false. `log` is kept.
  Session(std::shared_ptr<const WeightSource> source, Plan plan, Workers workers, SessionOptions options,
          const Log& log);
  ~Session();
  // Another cache and work space, and other threads, over the same weights. Ends the engine. Throws Error{kDoesNotFit}
  // when they do not fit; the executor then is a new one of the old sizes.
  exec::Executor& restart(const exec::ExecutorOptions& options, Workers workers);
  // What an engine works with: the executor's pass, wrapped.
  std::unique_ptr<ForwardPass> make_pass(int poll);
  // An engine on the executor; the vocabulary's tokenizer must outlive it.
  Engine& start_engine(Vocabulary vocabulary, const EngineOptions& options);

  const WeightSource& source() const { return *source_; }
  const ModelConfig& config() const { return source_->config(); }
  const Workers& workers() const { return workers_; }
  const Model& model() const { return *model_; }
  const Plan& plan() const { return model_->plan(); }
  exec::Executor& executor() { return *executor_; }
  const exec::ExecutorOptions& executor_options() const { return options_.executor; }

 private:
  void make_executor();

  std::shared_ptr<const WeightSource> source_;
  Workers workers_;
  SessionOptions options_;
  Log log_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<exec::Executor> executor_;
  std::unique_ptr<ForwardPass> pass_;
  std::unique_ptr<Engine> engine_;
};

// The context length for a model: `asked`, or for 0 the model's own, or below 0 the default of 8192 and the model's own
// where that is less.
std::int64_t context_for(const ModelConfig& config, std::int64_t asked);
// Cache positions for n_sequences that all reach the context, in the cache's whole blocks.
std::int64_t positions_for(std::int64_t context, std::int32_t n_sequences);

}  // namespace dodeca::runtime::engine
