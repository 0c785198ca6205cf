#include "runtime/cli/model_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
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
#include "runtime/cli/tuning.hpp"
#include "runtime/cluster/led_pass.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::int64_t kMaxThreads = 4096;

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
  console.info(fmt::format("cache: {} positions{}, {}, {}", loaded.context,
                           several ? fmt::format(" per sequence, {} in all", executor.n_positions) : "",
                           quant::name_of(executor.cache_type), bytes_text(static_cast<double>(cache_bytes))));
}

}  // namespace

cpu::Isa parse_isa(const std::string& name) {
  if (name.empty()) return cpu::host_isa();
  const std::optional<cpu::Isa> isa = cpu::isa_from_name(name);
  if (!isa) {
    std::string known;
    for (const cpu::Isa level : cpu::built_isas())
      known += (known.empty() ? "" : ", ") + std::string(cpu::name_of(level));
    throw Usage(fmt::format("--isa must be one of {}, not '{}'", known, name));
  }
  if (!cpu::detected_isa().has(*isa))
    throw Usage(
        fmt::format("--isa {} is above what this host and build run: {}", name, cpu::name_of(cpu::detected_isa())));
  return *isa;
}

quant::DType parse_cache_type(const std::string& flag, const std::string& name) {
  for (const quant::DType dtype : exec::kCacheTypes)
    if (const quant::TypeInfo* info = quant::find_type(std::string_view(name)); info != nullptr && info->dtype == dtype)
      return dtype;
  throw Usage(fmt::format("{} must be one of f32, f16, bf16, q8_0, i8, not '{}'", flag, name));
}

void check_overrides(std::span<const std::string> overrides) {
  Metadata scratch;
  try {
    for (const std::string& assignments : overrides) override_kv(scratch, assignments);
  } catch (const Error& error) {
    throw Usage("--override-kv: " + error.sentence());
  }
}

void ModelOptions::add_flags(Options& options) {
  options.value("-m,--model", model, "GGUF file, first file of a split one, or Hugging Face directory", "PATH",
                FileUse::kModel);
  options.files().reads(tuning_search(cpu::Isa::kScalar).file(), "the kernel tuning");
  options.value("-t,--threads", threads,
                "worker threads for generation, spread over L3 caches and nodes; -1: the default (all cores, or fewer "
                "where those read memory faster)",
                {-1, kMaxThreads});
  options.value("-tb,--threads-batch", threads_batch,
                "worker threads for prompts; -1: the default (as -t, without -t all cores)", {-1, kMaxThreads});
  options.value("-c,--ctx-size", ctx_size,
                "context length; 0: the model's own (default: 8192 or the model's own if less)",
                {0, std::int64_t{1} << 30});
  options.value("-b,--batch-size", batch, "logical batch: prompt rows per step (default: 2048)", {1, 1 << 20});
  options.value(
      "-ub,--ubatch-size", micro_batch,
      "physical batch: rows per pass (default: 2048 with 64 experts and more, else 512; ppl and imatrix: 512)",
      {1, 1 << 16});
  options.value(
      "-ctk,--cache-type-k", cache_type_k,
      "type of the cache: f32, f16, bf16, q8_0, i8: fast and less exact (default: f16, with --compute f32: f32)",
      "TYPE");
  options.value("-ctv,--cache-type-v", cache_type_v, "must equal -ctk: MLA has one cache", "TYPE");
  options.value("--isa", isa, "at most this instruction-set level (also DODECA_ISA)", "LEVEL");
  options.choice("--compute", compute, {"auto", "f32"}, "f32: the float32 reference route");
  options.value("--dump-layers", dump_layers, "write what every block gives, a line each, for comparing runs", "FILE",
                FileUse::kWrites);
  options.values("--override-kv,-okv", override_kv, kOverrideHelp, "KEY=TYPE:VALUE,...");
  options.flag("--plain-topk", plain_topk, "no expert groups where the file names none");
  options.flag("--onednn", onednn, "multiply prompts by BF16 and F32 weights with oneDNN (BF16: activations rounded)");
  numa.add_flags(options);
  device.add_flags(options);
}

void ModelOptions::add_engine_flags(Options& options) {
  options.value(
      "--poll", poll,
      "how long threads stay awake between two tokens, in units of 2 ms; 0: they sleep at once, and soon while "
      "they wait for each other, as is right where processors are not theirs alone (default: 50)",
      {0, 100});
  drafts.add_flags(options);
}

void ModelOptions::check() const {
  if (model.empty()) throw Usage("-m is missing: a GGUF file or a Hugging Face directory");
  check_overrides(override_kv);
  parse_isa(isa);
  device.check();
  numa.check();
  drafts.check();
  const quant::DType cache = cache_type();
  if (!cache_type_v.empty() && parse_cache_type("-ctv", cache_type_v) != cache)
    throw Usage(fmt::format("-ctv {} differs from -ctk {}: MLA has one cache, so they must be equal", cache_type_v,
                            quant::name_of(cache)));
}

quant::DType ModelOptions::cache_type() const {
  if (cache_type_k.empty()) return compute_f32() ? quant::DType::kF32 : quant::DType::kF16;
  return parse_cache_type("-ctk", cache_type_k);
}

std::unique_ptr<WeightSource> ModelOptions::open(const Log& log) const {
  return open_weights(model, {{plain_topk}, override_kv}, log);
}

std::string ModelOptions::arithmetic() const {
  const std::size_t n_parts = numa_choice(cpu::read_topology()).shares.size();
  return fmt::format("cache {} compute {}{}{}{}{}", quant::name_of(cache_type()), compute_f32() ? "f32" : "auto",
                     plain_topk ? " plain-topk" : "", onednn ? " onednn" : "",
                     n_parts == 1 ? "" : fmt::format(" parts {}", n_parts),
                     override_kv.empty() ? "" : fmt::format(" override {}", fmt::join(override_kv, " ")));
}

std::int64_t ModelOptions::rows_per_pass(const ModelConfig& config) const {
  return std::min(batch, micro_batch > 0 ? micro_batch : config.n_routed_experts >= 64 ? 2048 : 512);
}

engine::SessionOptions ModelOptions::session_options(const ModelConfig& config) const {
  return {.executor = {.micro_batch = rows_per_pass(config), .cache_type = cache_type()}};
}

PlanOptions ModelOptions::plan_options(const NumaChoice& choice, const Console& console) const {
  const cpu::Isa level = isa_level();
  return {.isa = level,
          .compute_f32 = compute_f32(),
          .onednn = onednn,
          .tuning = host_tuning(level, console),
          .shares = choice.shares,
          .placement = choice.placement,
          .here = cluster == nullptr ? cpu::kAllParts : cluster->rank()};
}

namespace {

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

}  // namespace

void ModelOptions::join_cluster(Console& console) {
  cluster = cluster::join(throw_if_stopped);
  if (cluster == nullptr) return;
  if (device.wants_card()) throw Usage("a card takes no blocks where mpirun has started several processes");
  if (numa.request().mode == NumaRequest::Mode::kParts)
    throw Usage("--numa parts= is for one process: with mpirun every process has one part");
  console.quiet = console.quiet || cluster->rank() > 0;
  std::string names = cluster->name_of(0);
  for (int r = 1; r < cluster->size(); ++r) names += ", " + cluster->name_of(r);
  console.info(fmt::format("a part of the model on each of {} ranks: {}", cluster->size(), names));
}

NumaChoice ModelOptions::numa_choice(const cpu::Topology& topology) const {
  NumaChoice choice = numa.choose(topology, whole || device.wants_card() || cluster != nullptr);
  if (cluster == nullptr) return choice;
  choice.shares = equal_shares(cluster->size());
  auto& nodes = choice.placement.part_nodes;  // this machine's, whichever part it has
  if (!nodes.empty()) nodes.assign(static_cast<std::size_t>(cluster->size()), nodes.front());
  return choice;
}

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
  engine::SessionOptions session = options.session_options(config);
  session.executor.n_sequences = wanted.n_sequences;
  session.executor.n_positions =
      wanted.n_positions > 0 ? wanted.n_positions : engine::positions_for(loaded.context, wanted.n_sequences);
  session.extra_bytes = wanted.extra_bytes;
  session.progress = bar.callback();
  options.numa.apply(session);
  if (options.cluster != nullptr) use_cluster(*options.cluster, session);
  const std::uint64_t need =
      plan.bytes + wanted.extra_bytes + exec::Executor::bytes_needed(plan, session.executor, workers.most_threads());
  if (plan.options.mtp && options.drafts.automatic() && need > cpu::available_memory_bytes()) {
    console.info("drafts: off; the multi-token-prediction layer does not fit into memory beside the rest");
    plan_options.mtp = false;
    plan = make_plan(*source, machine, plan_options);
  }
  if (card != nullptr) use_card(options.device, card, console, plan, session);
  loaded.session = std::make_unique<engine::Session>(std::move(source), std::move(plan), std::move(workers),
                                                     std::move(session), log);
  bar.finish();
  if (!options.dump_layers.empty()) loaded.session->executor().set_observer(dump_layers(options.dump_layers, log));
  if (options.cluster != nullptr) cluster::wait_for_all(*options.cluster);
  loaded.load_seconds = watch.seconds();
  loaded.energy = std::make_unique<engine::EnergyMeter>(card == nullptr ? "" : card->info().pci_bus_id);
  say_loaded(loaded, console);
  return loaded;
}

}  // namespace dodeca::runtime::cli
