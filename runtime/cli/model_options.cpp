#include "runtime/cli/model_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "cpu/topology.hpp"
#include "runtime/base/error.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/tuning.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::int64_t kMaxThreads = 4096;

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

std::string cache_types_text(quant::DType keys, quant::DType values) {
  if (keys == values) return std::string(quant::name_of(keys));
  return fmt::format("{} keys, {} values", quant::name_of(keys), quant::name_of(values));
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
  options.value("-ctv,--cache-type-v", cache_type_v,
                "type of the values' cache of grouped queries (default: as -ctk); latent attention has one cache",
                "TYPE");
  options.value("--isa", isa, "at most this instruction-set level (also DODECA_ISA)", "LEVEL");
  options.choice("--compute", compute, {"auto", "f32"}, "f32: the float32 reference route");
  options.value("--dump-layers", dump_layers, "write what every block gives, a line each, for comparing runs", "FILE",
                FileUse::kWrites);
  options.values("--override-kv,-okv", override_kv, kOverrideHelp, "KEY=TYPE:VALUE,...");
  options.flag("--plain-topk", plain_topk, "no expert groups where the file names none");
  options.flag("--dense-attention", dense_attention,
               "attend to all positions where the model's indexer would choose some");
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
  cache_type();
  value_cache_type();
}

quant::DType ModelOptions::cache_type() const {
  if (cache_type_k.empty()) return compute_f32() ? quant::DType::kF32 : quant::DType::kF16;
  return parse_cache_type("-ctk", cache_type_k);
}

quant::DType ModelOptions::value_cache_type() const {
  return cache_type_v.empty() ? cache_type() : parse_cache_type("-ctv", cache_type_v);
}

std::unique_ptr<WeightSource> ModelOptions::open(const Log& log) const {
  return open_weights(model, {{plain_topk, dense_attention}, override_kv}, log);
}

std::string ModelOptions::arithmetic() const {
  const std::size_t n_parts = numa_choice(cpu::read_topology()).shares.size();
  return fmt::format("cache {} compute {}{}{}{}{}{}", cache_types_text(cache_type(), value_cache_type()),
                     compute_f32() ? "f32" : "auto", plain_topk ? " plain-topk" : "",
                     dense_attention ? " dense-attention" : "", onednn ? " onednn" : "",
                     n_parts == 1 ? "" : fmt::format(" parts {}", n_parts),
                     override_kv.empty() ? "" : fmt::format(" override {}", fmt::join(override_kv, " ")));
}

std::int64_t ModelOptions::rows_per_pass(const ModelConfig& config) const {
  return std::min(batch, micro_batch > 0 ? micro_batch : config.n_routed_experts >= 64 ? 2048 : 512);
}

engine::SessionOptions ModelOptions::session_options(const ModelConfig& config) const {
  const bool latent = std::ranges::any_of(
      config.layers, [](const LayerConfig& layer) { return layer.attention == AttentionKind::kMla; });
  if (latent && value_cache_type() != cache_type())
    throw Usage(fmt::format("-ctv {} differs from -ctk {}: MLA has one cache, so they must be equal", cache_type_v,
                            quant::name_of(cache_type())));
  return {.executor = {.micro_batch = rows_per_pass(config),
                       .cache_type = cache_type(),
                       .value_cache_type = value_cache_type()}};
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

}  // namespace dodeca::runtime::cli
