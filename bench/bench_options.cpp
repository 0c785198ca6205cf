#include "bench/bench_options.hpp"

#include <fmt/core.h>

#include <array>
#include <string_view>
#include <utility>

#include "cpu/topology.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/engine/workers.hpp"
#include "runtime/model/shapes.hpp"

namespace dodeca::bench {
namespace {

using runtime::cli::Usage;

constexpr std::int64_t kMaxTokens = 1 << 24;

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (true) {
    const std::size_t at = text.find(separator);
    out.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 1);
  }
}

// The raw text of every option that takes a list; repeated options add to it.
struct Lists {
  std::vector<std::string> models, n_prompt, n_gen, n_pg, n_depth, n_batch, n_ubatch, n_parallel, type_k, type_v,
      threads;
  std::array<std::vector<std::string>, kInertCount> inert;
};

void replace(const runtime::cli::Options& options, std::string_view name, const std::vector<std::string>& texts,
             std::int64_t min, std::int64_t max, std::vector<std::int64_t>& target) {
  if (texts.empty()) return;
  target = parse_ranges(options.spelling(name), texts, min, max);
}

std::vector<quant::DType> cache_types(const std::string& flag, const std::vector<std::string>& texts) {
  std::vector<quant::DType> out;
  for (const std::string& text : texts)
    for (const std::string& name : split(text, ',')) out.push_back(runtime::cli::parse_cache_type(flag, name));
  return out;
}

// One value of an inert option, checked for its kind. -fa also takes words.
std::string inert_value(const std::string& flag, std::size_t axis, const std::string& text) {
  if (axis == kFlashAttention) {
    if (text == "on") return "1";
    if (text == "off") return "0";
    if (text == "auto") return "-1";
  }
  switch (kInertAxes[axis].kind) {
    case InertAxis::Kind::kText:
      return text;
    case InertAxis::Kind::kBoolean:
      return std::to_string(runtime::cli::parse_integer(flag, text, {0, 1}));
    case InertAxis::Kind::kInteger:
      return std::to_string(runtime::cli::parse_integer(flag, text));
  }
  return text;
}

Axes axes_from(const runtime::cli::Options& options, const Lists& lists) {
  Axes axes;
  for (const std::string& text : lists.models)
    for (const std::string& model : split(text, ',')) axes.models.push_back(model);
  if (axes.models.empty() && !options.given("--shape") && !options.given("--write-machine"))
    throw Usage("-m is missing: a GGUF file or a Hugging Face directory (or --shape, which needs none)");
  replace(options, "-p", lists.n_prompt, 0, kMaxTokens, axes.n_prompt);
  replace(options, "-n", lists.n_gen, 0, kMaxTokens, axes.n_gen);
  replace(options, "-d", lists.n_depth, 0, kMaxTokens, axes.n_depth);
  replace(options, "-b", lists.n_batch, 1, 1 << 20, axes.n_batch);
  replace(options, "-ub", lists.n_ubatch, 1, 1 << 16, axes.n_ubatch);
  replace(options, "--parallel", lists.n_parallel, 1, 1024, axes.n_parallel);
  axes.n_threads = {runtime::engine::default_threads(cpu::read_topology())};
  replace(options, "-t", lists.threads, 1, 4096, axes.n_threads);
  for (const std::string& text : lists.n_pg) {
    const std::vector<std::string> pair = split(text, ',');
    if (pair.size() != 2) throw Usage(fmt::format("-pg needs two numbers, prompt,generation, not '{}'", text));
    axes.n_pg.emplace_back(runtime::cli::parse_integer("-pg", pair[0], {0, kMaxTokens}),
                           runtime::cli::parse_integer("-pg", pair[1], {0, kMaxTokens}));
  }
  if (!lists.type_k.empty()) axes.cache_type = cache_types(options.spelling("-ctk"), lists.type_k);
  if (!lists.type_v.empty()) axes.value_type = cache_types(options.spelling("-ctv"), lists.type_v);
  if (axes.value_type == axes.cache_type) axes.value_type.clear();  // in pairs
  for (std::size_t k = 0; k < kInertCount; ++k) {
    const std::string name = split(kInertAxes[k].flags, ',').front();
    for (const std::string& text : lists.inert[k])
      for (const std::string& value : split(text, ','))
        axes.inert[k].push_back(inert_value(options.spelling(name), k, value));
  }
  return axes;
}

Format parse_format(const std::string& name) {
  if (name == "md") return Format::kMarkdown;
  if (name == "json") return Format::kJson;
  if (name == "jsonl") return Format::kJsonl;
  if (name == "csv") return Format::kCsv;
  if (name == "sql") return Format::kSql;
  return Format::kNone;
}

// What the command line says before it is understood.
struct BenchWords {
  std::string output = "md", output_stderr = "none";
  bool no_warmup = false, no_bandwidth = false;
  std::int64_t seed = 1;
};

void add_run_flags(runtime::cli::Options& options, BenchOptions& bench, BenchWords& words) {
  const std::vector<std::string> formats = {"csv", "json", "jsonl", "md", "sql", "none"};
  options.value("-r,--repetitions", bench.run.repetitions, "repetitions of each test (default: 5)", {1, 100000});
  options.choice("-o,--output", words.output, formats, "format on standard output (default: md)");
  options.choice("-oe,--output-err", words.output_stderr, formats, "a second report on standard error (default: none)");
  options.flag("--no-warmup", words.no_warmup, "skip the run before the timed ones");
  options.flag("--trace", bench.run.trace,
               "after the table, where the time of a pass goes: phases of the layers, bytes, GB/s");
  options.flag("--no-membw", words.no_bandwidth, "do not measure memory bandwidth and arithmetic peaks");
  options.value("--delay", bench.run.delay_seconds, "seconds to wait before each test (default: 0)", {0, 86400});
  options.value("--seed", words.seed, "of the random tokens (default: 1)", {0});
  options.flag("--progress", bench.progress_lines, "one line per step, also where standard error is no terminal");
  options.value("--isa", bench.model.isa, "at most this instruction-set level (also DODECA_ISA)", "LEVEL");
  options.choice("--compute", bench.model.compute, {"auto", "f32"}, "f32: the float32 reference route");
  options.values("--override-kv", bench.model.override_kv, "replace a metadata value", "KEY=TYPE:VALUE");
  options.flag("--plain-topk", bench.model.plain_topk, "no expert groups where the file names none");
  options.flag("--dense-attention", bench.model.dense_attention,
               "attend to all positions where the model's indexer would choose some");
  options.flag("--onednn", bench.model.onednn, "multiply prompts by BF16 and F32 weights with oneDNN");
  bench.model.numa.add_flags(options);
  options.value("--gpu", bench.model.device.gpu,
                "the number of a card, or emulation; -ngl, -ncmoe and -ot then take one value and say what runs there "
                "(default: none)",
                "NAME");
  options.value("--vram", bench.model.device.vram, "with --gpu: use at most so much of its memory", "SIZE");
  options.flag("-cmoe,--cpu-moe", bench.model.device.cpu_moe, "with --gpu: keep all routed experts in memory");
  options.value("--stream-experts", bench.model.device.stream_experts,
                "auto, off or a file of speeds: as dodeca run has it (default: auto, with emulation off)", "MODE|FILE",
                runtime::cli::FileUse::kReads);
  options.value("--hot-experts", bench.model.device.hot_experts,
                "with --gpu, auto: room that is left takes the experts that the run uses most (default: off)", "MODE");
  options.value("--defer-experts", bench.model.device.n_deferred,
                "with --gpu: add the N experts of a row that weigh least one layer later (default: 0)", {0, 64});
}

void add_shape_flags(runtime::cli::Options& options, BenchOptions& bench) {
  options.choice("--shape", bench.shape.shape, runtime::shape_names(),
                 "random weights of a published model's shapes, no file");
  options.value("--layers", bench.shape.n_layers,
                "with --shape: hold only so many layers, one of them dense; times are extrapolated to all", {1, 1024});
  options.value("--mtp-accept", bench.run.accepted,
                "time generation with drafts too: one per token, of which this share counts as right, whatever the "
                "model says",
                {0.0, 1.0});
  options.value("--experts", bench.shape.n_experts, "with --shape: fewer routed experts than the model has",
                {1, 1 << 16});
  options.value("--write-machine", bench.write_machine,
                "measure this machine instead of a model, and write its figures for dodeca plan --machine", "FILE",
                runtime::cli::FileUse::kWrites);
  options.value("--machine-seconds", bench.machine_seconds, "time for --write-machine (default: 60)", {0.1, 3600});
  options.value("--recipe", bench.shape.recipe,
                "with --shape: a mixture that dodeca quantize knows, or one type (default: ud-q2_k_xl)", "NAME");
}

void add_list_flags(runtime::cli::Options& options, Lists& lists) {
  options.values("-m,--model", lists.models, "GGUF file, first file of a split one, or Hugging Face directory", "PATH",
                 runtime::cli::FileUse::kModel);
  options.values("-p,--n-prompt", lists.n_prompt, "prompt lengths (default: 512)", "N");
  options.values("-n,--n-gen", lists.n_gen, "generation lengths (default: 128)", "N");
  options.values("-pg", lists.n_pg, "a prompt and a generation timed together", "PP,TG");
  options.values("-d,--n-depth", lists.n_depth, "tokens in the cache before the test, as random rows (default: 0)",
                 "N");
  options.values("-b,--batch-size", lists.n_batch, "logical batch (default: 2048)", "N");
  options.values("-ub,--ubatch-size", lists.n_ubatch, "physical batch (default: 512)", "N");
  options.values("--parallel", lists.n_parallel, "sequences that generate together, t/s is their sum (default: 1)",
                 "N");
  options.values("-ctk,--cache-type-k", lists.type_k, "cache type: f32, f16, bf16, q8_0, i8 (default: f16)", "TYPE");
  options.values("-ctv,--cache-type-v", lists.type_v,
                 "the values' of grouped queries (default, and with the same list: as -ctk)", "TYPE");
  options.values("-t,--threads", lists.threads, "worker threads (default: one per physical core)", "N");
  for (std::size_t k = 0; k < kInertCount; ++k)
    options.values(kInertAxes[k].flags, lists.inert[k], fmt::format("accepted: {}", inert_answer(kInertAxes[k])), "X");
}

void check_shape(const runtime::cli::Options& options) {
  if (!options.given("--shape")) {
    for (const char* name : {"--layers", "--experts", "--recipe"})
      if (options.given(name)) throw Usage(fmt::format("{} goes with --shape", name));
    return;
  }
  for (const char* name : {"-m", "--override-kv", "--plain-topk"})
    if (options.given(name))
      throw Usage(fmt::format("--shape and {} exclude each other: a shape has no file", options.spelling(name)));
}

// With a card, axes of llama-bench that change nothing without one say what runs there.
void place_on_card(const runtime::cli::Options& options, BenchOptions& bench) {
  const auto only = [&](std::size_t axis, const char* name) -> const std::string* {
    const std::vector<std::string>& values = bench.axes.inert[axis];
    if (values.size() > 1) throw Usage(fmt::format("{} takes one value with --gpu", options.spelling(name)));
    return values.empty() ? nullptr : &values.front();
  };
  runtime::cli::DeviceOptions& device = bench.model.device;
  if (const std::string* n = only(kGpuLayers, "-ngl")) device.n_layers = *n;
  if (const std::string* n = only(kCpuMoe, "-ncmoe"))
    device.n_cpu_moe = static_cast<std::int32_t>(runtime::cli::parse_integer("-ncmoe", *n, {0, 1 << 16}));
  if (const std::string* rule = only(kTensorOverrides, "-ot")) device.override_tensors = {*rule};
  device.check();
  bench.model.numa.check();
}

}  // namespace

BenchOptions parse_bench(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench",
      "Measures tokens per second as llama-bench does. Options of the second group take comma lists and ranges\n"
      "(first-last, first-last+step, first-last*mult) and may be repeated; all combinations run.",
      "dodeca-bench -m model.gguf                       pp512 and tg128\n"
      "  dodeca-bench -m model.gguf -p 512,2048 -n 0 -t 8-32*2\n"
      "  dodeca-bench -m model.gguf -p 0 -n 64 -d 0,4096,16384 -o json\n"
      "  dodeca-bench -m model.gguf -pg 2048,256 -ctk q8_0 -r 3\n"
      "  dodeca-bench -m model.gguf -p 0 -n 32 --parallel 1,2,4,8\n"
      "  dodeca-bench --write-machine here.json           this machine's figures, for dodeca plan --machine here.json\n"
      "  dodeca-bench membw --help                        memory bandwidth\n"
      "  dodeca-bench kernels --help                      matrix products alone\n"
      "  dodeca-bench attention --help                    latent attention alone\n"
      "  dodeca-bench gpu --help                          a card and its kernels\n"
      "  dodeca-bench tune --help                         which of them are the fastest here\n"
      "  dodeca-bench barrier --help                      the team's barriers\n"
      "  dodeca-bench sample --help                       from logits to tokens");
  BenchOptions bench;
  BenchWords words;
  Lists lists;
  add_run_flags(options, bench, words);
  bench.console.add_flags(options);
  add_shape_flags(options, bench);
  add_list_flags(options, lists);
  options.parse(args);

  check_shape(options);
  if (options.given("--write-machine") && (options.given("-m") || options.given("--shape")))
    throw Usage("--write-machine measures the machine and no model: it goes without -m and --shape");
  bench.run.warmup = !words.no_warmup;
  bench.run.measure_limits = !words.no_bandwidth;
  bench.run.seed = static_cast<std::uint64_t>(words.seed);
  bench.output = parse_format(words.output);
  bench.output_stderr = parse_format(words.output_stderr);
  bench.axes = axes_from(options, lists);
  const bool card = options.given("--gpu");
  if (card) place_on_card(options, bench);
  for (const char* name : {"--vram", "--hot-experts", "--stream-experts", "--defer-experts"})
    if (!card && options.given(name)) throw Usage(fmt::format("{} goes with --gpu", name));
  if (!card && std::exchange(bench.model.device.cpu_moe, false))
    bench.console.info(fmt::format("{}: without --gpu experts run on the CPU", options.spelling("-cmoe")));
  for (const InertAxis& axis : kInertAxes) {
    if (card &&
        (&axis == &kInertAxes[kGpuLayers] || &axis == &kInertAxes[kCpuMoe] || &axis == &kInertAxes[kTensorOverrides]))
      continue;
    const std::string name = split(axis.flags, ',').front();
    if (options.given(name)) bench.console.info(fmt::format("{}: {}", options.spelling(name), inert_answer(axis)));
  }
  return bench;
}

}  // namespace dodeca::bench
