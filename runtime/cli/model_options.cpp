#include "runtime/cli/model_options.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "cpu/cgroup.hpp"
#include "cpu/kernels/attention/attention.hpp"
#include "runtime/base/error.hpp"
#include "runtime/cli/tuning.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::int64_t kDefaultContext = 8192, kMaxThreads = 4096;

std::string team_facts(const cpu::Topology& topology, const cpu::Team& team, const cpu::Team* team_batch) {
  std::string text = fmt::format("threads: {}", team.size());
  if (team_batch != nullptr) text += fmt::format(" ({} for prompts)", team_batch->size());
  return text + fmt::format(" on {} usable cores, {}", topology.cores.size(), topology.cpu_model);
}

// What may keep threads from being started.
std::string thread_limits() {
  const auto limit = [](auto resource) {
    rlimit found{};
    const bool limited = ::getrlimit(resource, &found) == 0 && found.rlim_cur != RLIM_INFINITY;
    return limited ? std::to_string(found.rlim_cur) : "unlimited";
  };
  std::string text = fmt::format(
      "the limits are {} processes and threads of this user (ulimit -u), {} bytes of memory for "
      "this process (ulimit -v)",
      limit(RLIMIT_NPROC), limit(RLIMIT_AS));
  std::optional<std::uint64_t> most;
  for (const bool v2 : {true, false}) {
    const std::optional<cpu::Cgroup> group = cpu::find_cgroup("", "pids", v2);
    if (!group) continue;
    cpu::for_each_group(*group, [&](const std::string& folder) {
      const std::optional<std::uint64_t> n = cpu::to_number(cpu::read_text(folder + "/pids.max"));
      if (n && (!most || *n < *most)) most = n;
    });
  }
  if (most) text += fmt::format(", {} processes and threads of this control group (pids.max)", *most);
  return text;
}

}  // namespace

int default_threads(const cpu::Topology& topology) {
  const int n_cores = std::max<int>(1, static_cast<int>(topology.cores.size()));
  if (topology.cpu_quota <= 0) return n_cores;
  return std::clamp(static_cast<int>(std::lround(topology.cpu_quota)), 1, n_cores);
}

std::unique_ptr<cpu::Team> make_team(std::int32_t n_threads, const Console& console) {
  const cpu::Topology topology = cpu::read_topology();
  const int n = n_threads > 0 ? n_threads : default_threads(topology);
  std::vector<int> pus;
  if (n <= static_cast<int>(topology.cores.size()))
    for (int i = 0; i < n; ++i) pus.push_back(topology.cores[i].first_pu);
  else
    console.warn(fmt::format("{} threads on {} cores: threads are not bound and will wait for each other", n,
                             topology.cores.size()));
  const auto team = [n](std::vector<int> bound_to) {
    try {
      return std::make_unique<cpu::Team>(n, std::move(bound_to));
    } catch (const cpu::ThreadsRefused& refused) {
      throw Error(ErrorKind::kDoesNotFit,
                  fmt::format("{} threads were wanted and the system let {} start: {}; a smaller -t wants fewer",
                              refused.wanted, refused.given, thread_limits()));
    }
  };
  try {
    return team(pus);
  } catch (const std::system_error& error) {
    console.warn(fmt::format("threads are not bound to cores: {}", error.what()));
    return team({});
  }
}

cpu::Isa parse_isa(const std::string& name) {
  if (name.empty()) return cpu::host_isa();
  const std::optional<cpu::Isa> isa = cpu::isa_from_name(name);
  if (!isa) {
    std::string known;
    for (const cpu::Isa level : cpu::built_isas())
      known += (known.empty() ? "" : ", ") + std::string(cpu::name_of(level));
    throw Usage(fmt::format("--isa must be one of {}, not '{}'", known, name));
  }
  if (*isa > cpu::detected_isa())
    throw Usage(
        fmt::format("--isa {} is above what this host and build run: {}", name, cpu::name_of(cpu::detected_isa())));
  return *isa;
}

quant::DType parse_cache_type(const std::string& flag, const std::string& name) {
  for (const quant::DType dtype : kCacheTypes)
    if (const quant::TypeInfo* info = quant::find_type(std::string_view(name)); info != nullptr && info->dtype == dtype)
      return dtype;
  throw Usage(fmt::format("{} must be one of f32, f16, bf16, q8_0, i8, not '{}'", flag, name));
}

void check_overrides(std::span<const std::string> overrides) {
  Metadata scratch;
  try {
    for (const std::string& assignments : overrides) override_kv(scratch, assignments);
  } catch (const Error& error) {
    throw Usage(error.sentence());
  }
}

void ModelOptions::add_flags(Options& options) {
  options.value("-m,--model", model, "GGUF file, first file of a split one, or Hugging Face directory", "PATH",
                FileUse::kModel);
  options.files().reads(tuning_search(cpu::Isa::kScalar).file(), "the kernel tuning");
  options.value("-t,--threads", threads, "worker threads for generation; -1: the default (one per physical core)",
                {-1, kMaxThreads});
  options.value("-tb,--threads-batch", threads_batch, "worker threads for prompts; -1: the default (as -t)",
                {-1, kMaxThreads});
  options.value("-c,--ctx-size", ctx_size,
                "context length; 0: the model's own (default: 8192 or the model's own if less)",
                {0, std::int64_t{1} << 30});
  options.value("-b,--batch-size", batch, "logical batch: prompt rows per step (default: 2048)", {1, 1 << 20});
  options.value("-ub,--ubatch-size", micro_batch, "physical batch: rows per pass (default: 512)", {1, 1 << 16});
  options.value(
      "-ctk,--cache-type-k", cache_type_k,
      "type of the cache: f32, f16, bf16, q8_0, i8: fast and less exact (default: f16, with --compute f32: f32)",
      "TYPE");
  options.value("-ctv,--cache-type-v", cache_type_v, "must equal -ctk: MLA has one cache", "TYPE");
  options.value("--isa", isa, "at most this instruction-set level (also DODECA_ISA)", "LEVEL");
  options.choice("--compute", compute, {"auto", "f32"}, "f32: the float32 reference route");
  options.values("--override-kv,-okv", override_kv, kOverrideHelp, "KEY=TYPE:VALUE,...");
  options.flag("--plain-topk", plain_topk, "no expert groups where the file names none");
  options.flag("--onednn", onednn, "multiply prompts by BF16 and F32 weights with oneDNN (BF16: activations rounded)");
}

void ModelOptions::check() const {
  if (model.empty()) throw Usage("-m is missing: a GGUF file or a Hugging Face directory");
  check_overrides(override_kv);
  parse_isa(isa);
  const quant::DType cache = cache_type();
  if (!cache_type_v.empty() && parse_cache_type("-ctv", cache_type_v) != cache)
    throw Usage(fmt::format("-ctv {} differs from -ctk {}: MLA has one cache, so they must be equal", cache_type_v,
                            quant::name_of(cache)));
}

quant::DType ModelOptions::cache_type() const {
  if (cache_type_k.empty()) return compute_f32() ? quant::DType::kF32 : quant::DType::kF16;
  return parse_cache_type("-ctk", cache_type_k);
}

std::string ModelOptions::arithmetic() const {
  return fmt::format("cache {} compute {}{}{}{}", quant::name_of(cache_type()), compute_f32() ? "f32" : "auto",
                     plain_topk ? " plain-topk" : "", onednn ? " onednn" : "",
                     override_kv.empty() ? "" : fmt::format(" override {}", fmt::join(override_kv, " ")));
}

std::int64_t ModelOptions::context_for(const ModelConfig& config) const {
  const std::int64_t own = config.context_length > 0 ? config.context_length : kDefaultContext;
  if (ctx_size == 0) return own;
  return ctx_size > 0 ? ctx_size : std::min(kDefaultContext, own);
}

std::int64_t positions_for(std::int64_t context, std::int32_t n_sequences) {
  const std::int64_t block = cpu::kContextBlock;
  return (context + block - 1) / block * block * n_sequences;
}

LoadedModel load_model(const ModelOptions& options, const Console& console,
                       const std::function<CommandNeeds(const ModelConfig&, std::int64_t)>& needs) {
  const auto start = std::chrono::steady_clock::now();
  const Log log = console.log();
  LoadedModel loaded;
  loaded.source = open_weights(options.model, {{options.plain_topk}, options.override_kv}, log);
  const ModelConfig& config = loaded.config();
  loaded.context = options.context_for(config);
  if (config.context_length > 0 && loaded.context > config.context_length)
    console.warn(fmt::format("-c {} is beyond the {} positions that the model was made for", loaded.context,
                             config.context_length));

  CommandNeeds command_needs = needs(config, loaded.context);
  if (command_needs.n_positions == 0)
    command_needs.n_positions = positions_for(loaded.context, command_needs.n_sequences);
  ExecutorOptions executor_options;
  executor_options.n_positions = command_needs.n_positions;
  executor_options.n_sequences = command_needs.n_sequences;
  executor_options.micro_batch = std::min(options.micro_batch, options.batch);
  executor_options.cache_type = options.cache_type();
  executor_options.integer_attention = !options.compute_f32();

  const cpu::Topology topology = cpu::read_topology();
  loaded.team = make_team(options.threads, console);
  if (options.threads_batch > 0 && options.threads_batch != loaded.team->size())
    loaded.team_batch = make_team(options.threads_batch, console);
  console.detail(team_facts(topology, *loaded.team, loaded.team_batch.get()));

  const std::uint64_t cache_bytes = KvCache::bytes_needed(config, executor_options.cache_options());
  LoadOptions load;
  load.isa = options.isa_level();
  load.compute_f32 = options.compute_f32();
  load.onednn = options.onednn;
  load.tuning = host_tuning(load.isa, console);
  const int n_threads = std::max(loaded.team->size(), loaded.prompt_team().size());
  load.extra_bytes = Executor::bytes_needed(config, executor_options, n_threads) + command_needs.extra_bytes;
  {
    ProgressBar bar(console, "loading", "MB", 1e6);
    load.progress = bar.callback();
    loaded.model = Model::load(*loaded.source, loaded.prompt_team(), load, log);
  }
  loaded.executor = std::make_unique<Executor>(*loaded.model, *loaded.team, executor_options);
  loaded.executor->set_log(log);
  loaded.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  console.info(fmt::format("model: {}, {} in memory, loaded in {:.1f} s; threads: {}, {}", config.name,
                           bytes_text(static_cast<double>(loaded.model->weight_bytes())), loaded.load_seconds,
                           loaded.team->size(), cpu::name_of(loaded.model->isa())));
  const bool several = executor_options.n_positions > positions_for(loaded.context, 1);
  console.info(fmt::format("cache: {} positions{}, {}, {}", loaded.context,
                           several ? fmt::format(" per sequence, {} in all", executor_options.n_positions) : "",
                           quant::name_of(executor_options.cache_type), bytes_text(static_cast<double>(cache_bytes))));
  return loaded;
}

}  // namespace dodeca::runtime::cli
