#include "runtime/cli/load_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cpu/memory.hpp"
#include "cpu/topology.hpp"
#include "runtime/base/error.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/stopwatch.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/layer_dump.hpp"
#include "runtime/cli/model_identity.hpp"
#include "runtime/cli/thread_choice.hpp"
#include "runtime/cluster/led_pass.hpp"
#include "runtime/engine/node_fit.hpp"
#include "runtime/weights/pooled.hpp"

namespace dodeca::runtime::cli {
namespace {

// What the user asked for, or what is best here.
ThreadChoice threads_for(const ModelOptions& options, const cpu::Topology& topology, const Log& log) {
  const std::string asked = "as asked for";
  if (options.threads > 0)
    return {options.threads, options.threads_batch > 0 ? options.threads_batch : options.threads, asked};
  ThreadChoice choice = cached_threads(topology, thread_cache_file(), read_rate_of(topology), log);
  if (options.threads_batch > 0) {
    choice.prompts = options.threads_batch;
    choice.reason += fmt::format("; for prompts {}", asked);
  }
  return choice;
}

// What a loaded model is, a line each.
void say_loaded(const LoadedModel& loaded, const Console& console) {
  const engine::Session& session = *loaded.session;
  const exec::ExecutorOptions& executor = session.executor_options();
  const auto bytes = static_cast<double>(session.plan().bytes_here());
  console.info(fmt::format("model: {}, {} in memory, loaded in {:.1f} s ({:.2f} GB/s); {}", loaded.config().name,
                           bytes_text(bytes), loaded.load_seconds, bytes / 1e9 / std::max(loaded.load_seconds, 1e-3),
                           cpu::name_of(session.model().isa())));
  const bool several = executor.n_positions > engine::positions_for(loaded.context, 1);
  const std::uint64_t cache_bytes =
      exec::KvCache::bytes_needed(loaded.config(), executor.cache_options(session.plan()));
  console.info(
      fmt::format("cache: {} positions{}, {}, {}", loaded.context,
                  several ? fmt::format(" per sequence, {} in all", executor.n_positions) : "",
                  cache_types_text(executor.cache_type, executor.value_cache_type.value_or(executor.cache_type)),
                  bytes_text(static_cast<double>(cache_bytes))));
}

// What has to be the same on all ranks before anything is loaded.
std::vector<std::string> facts_of(const ModelOptions& options, const Plan& plan, const CommandNeeds& needs,
                                  std::int64_t context) {
  return {fmt::format("version {} ({})", program_version(), program_commit()),
          fmt::format("model {:016x}", fnv1a(model_outline(options.model))),
          fmt::format("{} weights in {} bytes", plan.weights.size(), plan.bytes), "arithmetic: " + options.arithmetic(),
          fmt::format("{} sequences, {} positions, a context of {}, passes of {} rows", needs.n_sequences,
                      needs.n_positions, context, options.rows_per_pass(plan.config))};
}

void use_cluster(cluster::Cluster& cluster, engine::SessionOptions& session) {
  session.executor.exchange = {&cluster.exchange(), [](exec::Exchange*) {}};  // the process owns it
  session.complete = [&cluster](const PlacedSum& own) { return cluster::sum_of_all(cluster, own); };
  if (cluster.rank() == 0)
    session.wrap = [&cluster](std::unique_ptr<engine::ForwardPass> own) {
      return std::make_unique<cluster::LeadingPass>(cluster, std::move(own));
    };
}

// Whether a model fits into what memory and its nodes have free.
bool fits(const Plan& plan, const exec::ExecutorOptions& executor, std::uint64_t extra_bytes, int n_threads) {
  const std::uint64_t work = exec::Executor::bytes_needed(plan, executor, n_threads);
  if (bytes_beside_pools(plan) + work + extra_bytes > cpu::available_memory_bytes()) return false;
  try {
    engine::place_cache(plan, executor, n_threads, {});
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

int follow_rank_0(const ModelOptions& options, const Console& console,
                  const std::function<CommandNeeds(const Plan&, std::int64_t)>& needs) {
  cluster::Cluster& cluster = *options.cluster;
  if (!cluster::hear_begin(cluster)) return 0;
  const LoadedModel loaded = load_model(options, console, needs);
  const auto pass = loaded.session->make_pass(options.poll);
  cluster::follow(cluster, *pass);
  return 0;
}

LoadedModel load_model(const ModelOptions& options, const Console& console,
                       const std::function<CommandNeeds(const Plan&, std::int64_t)>& needs) {
  const Stopwatch watch;
  const Log log = console.log();
  if (options.cluster == nullptr && cluster::n_started() > 1)
    throw Error(ErrorKind::kUnsupported,
                fmt::format("mpirun started {} processes, and this command works in one alone", cluster::n_started()));
  if (options.cluster != nullptr && options.cluster->rank() == 0) cluster::tell_begin(*options.cluster);
  std::shared_ptr<const WeightSource> source = options.open(log);
  const ModelConfig& config = source->config();
  LoadedModel loaded;
  loaded.cluster = options.cluster;
  loaded.context = engine::context_for(config, options.ctx_size);
  if (config.context_length > 0 && loaded.context > config.context_length)
    console.warn(fmt::format("-c {} is beyond the {} positions that the model was made for", loaded.context,
                             config.context_length));
  engine::SessionOptions session = options.session_options(config);
  const std::shared_ptr<gpu::Device> card = options.device.open(console);
  Machine machine = this_machine();
  if (card != nullptr) machine.devices.push_back(device_of(*card));
  const NumaChoice choice = options.numa_choice(cpu::read_topology());
  if (const std::string note = options.numa.note(); !note.empty()) console.info(note);
  PlanOptions plan_options = options.plan_options(choice, console);
  plan_options.mtp = options.drafts.wants_layer(*source,
                                                card != nullptr              ? "a card takes blocks"
                                                : options.cluster != nullptr ? "several machines share the model"
                                                                             : "",
                                                console);
  Plan plan = make_plan(*source, machine, plan_options);
  const CommandNeeds wanted = needs(plan, loaded.context);
  if (options.cluster != nullptr) {
    if (config.tied_embeddings)
      throw Error(ErrorKind::kUnsupported, "a model whose head is its embedding does not run in several processes");
    cluster::agree(*options.cluster, facts_of(options, plan, wanted, loaded.context));
  }
  const cpu::Topology& topology = choice.topology;
  console.detail(fmt::format("processor: {}, {} usable cores", topology.cpu_model, topology.cores.size()));
  const ThreadChoice threads = threads_for(options, topology, log);
  console.info(threads_text(threads));
  engine::Workers workers(topology, threads.generation, threads.prompts, log);
  warn_about_memory(choice, workers.most_threads(), console);

  ProgressBar bar(console, "loading", "MB", 1e6);
  session.executor.n_sequences = wanted.n_sequences;
  session.executor.n_positions =
      wanted.n_positions > 0 ? wanted.n_positions : engine::positions_for(loaded.context, wanted.n_sequences);
  session.extra_bytes = wanted.extra_bytes;
  session.progress = bar.callback();
  options.numa.apply(session);
  if (options.cluster != nullptr) use_cluster(*options.cluster, session);
  if (plan.options.mtp && options.drafts.automatic() &&
      !fits(plan, session.executor, wanted.extra_bytes, workers.most_threads())) {
    console.info("drafts: off; the multi-token-prediction layer does not fit into memory beside the rest");
    plan_options.mtp = false;
    plan = make_plan(*source, machine, plan_options);
  }
  if (card != nullptr) use_card(options.device, card, workers.prompts(), console, plan, session);
  loaded.session = std::make_unique<engine::Session>(std::move(source), std::move(plan), std::move(workers),
                                                     std::move(session), log);
  bar.finish();
  if (!options.dump_layers.empty()) loaded.session->executor().set_observer(dump_layers(options.dump_layers, log));
  loaded.session->executor().set_stop([] { return stop_signal() != 0; });
  if (options.cluster != nullptr) cluster::wait_for_all(*options.cluster);
  loaded.load_seconds = watch.seconds();
  loaded.energy = std::make_unique<engine::EnergyMeter>(card == nullptr ? "" : card->info().pci_bus_id);
  say_loaded(loaded, console);
  return loaded;
}

}  // namespace dodeca::runtime::cli
