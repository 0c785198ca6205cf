#include "runtime/engine/session.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "cpu/kernels/attention/attention.hpp"
#include "cpu/topology.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/error.hpp"
#include "runtime/engine/node_fit.hpp"
#include "runtime/weights/part_residency.hpp"

namespace dodeca::runtime::engine {
namespace {

using exec::Executor;

constexpr std::int64_t kDefaultContext = 8192;

void check_memory(std::uint64_t need) {
  const std::uint64_t have = cpu::available_memory_bytes();
  if (need <= have) return;
  throw Error(ErrorKind::kDoesNotFit,
              fmt::format("cache and work space need {:.2f} GiB of memory, {:.2f} GiB are free", gib(need), gib(have)))
      .with(Remedy::kSmallerCache);
}

}  // namespace

Session::Session(std::shared_ptr<const WeightSource> source, Plan plan, Workers workers, SessionOptions options,
                 const Log& log)
    : source_(std::move(source)), workers_(std::move(workers)), options_(std::move(options)), log_(log) {
  options_.executor.integer_attention = !plan.options.compute_f32;
  options_.executor.device = options_.device;
  const Placement& placement = plan.options.placement;
  options_.executor.cache_copies = place_cache(plan, options_.executor, workers_.most_threads(), {});
  if (placement.bound() || plan.n_parts() > 1) {
    const std::size_t n_copies = options_.executor.cache_copies.size();
    log(Level::kInfo, fmt::format("numa: {}; cache: {}", placement.reason,
                                  n_copies > 1                       ? "one copy per node"
                                  : placement.all_nodes().size() > 1 ? "one copy, interleaved"
                                                                     : "one copy"));
  }
  const std::uint64_t work = Executor::bytes_needed(plan, options_.executor, workers_.most_threads());
  model_ = Model::load(
      *source_, std::move(plan), workers_.prompts(),
      {.extra_bytes = work + options_.extra_bytes,
       .progress = std::exchange(options_.progress, {}),
       .take = options_.device == nullptr
                   ? std::function<void(const WeightPlan&, const WeightStore&)>()
                   : [&](const WeightPlan& weight, const WeightStore& store) { options_.device->take(weight, store); },
       .complete = options_.complete},
      log);
  if (model_->plan().options.placement.bound() || options_.verify_placement)
    check_residency(residency_of(*model_, options_.verify_placement), options_.allow_remote, log);
  make_executor();
}

Session::~Session() = default;

void Session::make_executor() {
  executor_ = std::make_unique<Executor>(*model_, workers_.generation(), options_.executor);
  executor_->set_log(log_);
}

Executor& Session::restart(const exec::ExecutorOptions& options, Workers workers) {
  exec::ExecutorOptions wanted = options;
  wanted.integer_attention = !plan().options.compute_f32;
  wanted.device = options_.device;
  engine_.reset();
  pass_.reset();
  executor_.reset();  // gives its memory back first
  try {
    wanted.cache_copies = place_cache(plan(), wanted, workers.most_threads(), {.weights_are_there = true});
    check_memory(Executor::bytes_needed(plan(), wanted, workers.most_threads()));
  } catch (const Error&) {
    make_executor();
    throw;
  }
  workers_ = std::move(workers);
  options_.executor = wanted;
  make_executor();
  return *executor_;
}

std::unique_ptr<ForwardPass> Session::make_pass(int poll) {
  std::unique_ptr<ForwardPass> pass =
      std::make_unique<ExecutorPass>(*executor_, workers_.generation(), workers_.prompts(), poll);
  return options_.wrap ? options_.wrap(std::move(pass)) : std::move(pass);
}

Engine& Session::start_engine(Vocabulary vocabulary, const EngineOptions& options) {
  engine_.reset();
  pass_ = make_pass(options.poll);
  engine_ = std::make_unique<Engine>(*pass_, std::move(vocabulary), options);
  return *engine_;
}

std::int64_t context_for(const ModelConfig& config, std::int64_t asked) {
  const std::int64_t own = config.context_length > 0 ? config.context_length : kDefaultContext;
  if (asked == 0) return own;
  return asked > 0 ? asked : std::min(kDefaultContext, own);
}

std::int64_t positions_for(std::int64_t context, std::int32_t n_sequences) {
  const std::int64_t block = cpu::kContextBlock;
  return (context + block - 1) / block * block * n_sequences;
}

}  // namespace dodeca::runtime::engine
