#include "bench/cmd_bench.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>

#include "bench/report.hpp"
#include "bench/shape_run.hpp"
#include "bench/test_matrix.hpp"
#include "bench/throughput.hpp"
#include "cpu/memory.hpp"
#include "cpu/topology.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/options.hpp"
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
  target.clear();
  for (const std::string& text : texts)
    for (const std::int64_t v : parse_range(options.spelling(name), text, min, max)) target.push_back(v);
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

Axes axes_from(const runtime::cli::Options& options, const Lists& lists, int default_threads) {
  Axes axes;
  if (options.given("--shape"))
    axes.models = lists.models;
  else
    for (const std::string& text : lists.models)
      for (const std::string& model : split(text, ',')) axes.models.push_back(model);
  if (axes.models.empty())
    throw Usage("-m is missing: a GGUF file or a Hugging Face directory (or --shape, which needs none)");
  replace(options, "-p", lists.n_prompt, 0, kMaxTokens, axes.n_prompt);
  replace(options, "-n", lists.n_gen, 0, kMaxTokens, axes.n_gen);
  replace(options, "-d", lists.n_depth, 0, kMaxTokens, axes.n_depth);
  replace(options, "-b", lists.n_batch, 1, 1 << 20, axes.n_batch);
  replace(options, "-ub", lists.n_ubatch, 1, 1 << 16, axes.n_ubatch);
  replace(options, "--parallel", lists.n_parallel, 1, 1024, axes.n_parallel);
  axes.n_threads = {default_threads};
  replace(options, "-t", lists.threads, 1, 4096, axes.n_threads);
  for (const std::string& text : lists.n_pg) {
    const std::vector<std::string> pair = split(text, ',');
    if (pair.size() != 2) throw Usage(fmt::format("-pg needs two numbers, prompt,generation, not '{}'", text));
    axes.n_pg.emplace_back(runtime::cli::parse_integer("-pg", pair[0], {0, kMaxTokens}),
                           runtime::cli::parse_integer("-pg", pair[1], {0, kMaxTokens}));
  }
  if (!lists.type_k.empty()) axes.cache_type = cache_types(options.spelling("-ctk"), lists.type_k);
  if (!lists.type_v.empty() && cache_types(options.spelling("-ctv"), lists.type_v) != axes.cache_type)
    throw Usage("-ctv must equal -ctk or be absent: MLA has one cache");
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

Environment read_environment(const runtime::cli::ModelOptions& model, std::uint64_t seed) {
  const cpu::Topology topology = cpu::read_topology();
  Environment env;
  env.cpu_model = topology.cpu_model;
  env.build_commit = runtime::cli::program_commit();
  env.build_number = DODECA_BUILD_NUMBER;
  env.compiler = "g++ " __VERSION__;
  env.isa = cpu::name_of(model.isa_level());
  env.huge_pages = cpu::huge_page_mode();
  env.n_nodes = static_cast<int>(topology.nodes.size());
  env.n_cores = static_cast<int>(topology.cores.size());
  env.seed = seed;
  return env;
}

// Null without --shape.
std::unique_ptr<ShapeRun> shape_run(const runtime::cli::Options& options, const ShapeRequest& request,
                                    const runtime::cli::ModelOptions& model, const RunOptions& run,
                                    const runtime::cli::Console& console) {
  if (!options.given("--shape")) {
    for (const char* name : {"--layers", "--experts", "--recipe"})
      if (options.given(name)) throw Usage(fmt::format("{} goes with --shape", name));
    return nullptr;
  }
  for (const char* name : {"-m", "--override-kv", "--plain-topk"})
    if (options.given(name))
      throw Usage(fmt::format("--shape and {} exclude each other: a shape has no file", options.spelling(name)));
  return std::make_unique<ShapeRun>(request, model, run, console);
}

}  // namespace

int cmd_bench(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench",
      "Measures tokens per second as llama-bench does. Options of the second group take comma lists and ranges\n"
      "(first-last, first-last+step, first-last*mult) and may be repeated; all combinations run.",
      "dodeca-bench -m model.gguf                       pp512 and tg128\n"
      "  dodeca-bench -m model.gguf -p 512,2048 -n 0 -t 8-32*2\n"
      "  dodeca-bench -m model.gguf -p 0 -n 64 -d 0,4096,16384 -o json\n"
      "  dodeca-bench -m model.gguf -pg 2048,256 -ctk q8_0 -r 3\n"
      "  dodeca-bench -m model.gguf -p 0 -n 32 --parallel 1,2,4,8\n"
      "  dodeca-bench membw --help                        memory bandwidth\n"
      "  dodeca-bench kernels --help                      matrix products alone\n"
      "  dodeca-bench attention --help                    latent attention alone\n"
      "  dodeca-bench tune --help                         which of them are the fastest here\n"
      "  dodeca-bench barrier --help                      the team's barriers");
  runtime::cli::Console console;
  runtime::cli::ModelOptions model;
  RunOptions run;
  std::string output = "md", output_stderr = "none";
  bool no_warmup = false, no_bandwidth = false, progress_lines = false;
  std::int64_t seed = 1;
  const std::vector<std::string> formats = {"csv", "json", "jsonl", "md", "sql", "none"};
  options.value("-r,--repetitions", run.repetitions, "repetitions of each test (default: 5)", {1, 100000});
  options.choice("-o,--output", output, formats, "format on standard output (default: md)");
  options.choice("-oe,--output-err", output_stderr, formats, "a second report on standard error (default: none)");
  options.flag("--no-warmup", no_warmup, "skip the run before the timed ones");
  options.flag("--trace", run.trace,
               "after the table, where the time of a pass goes: phases of the layers, bytes, GB/s");
  options.flag("--no-membw", no_bandwidth, "do not measure memory bandwidth and arithmetic peaks");
  options.value("--delay", run.delay_seconds, "seconds to wait before each test (default: 0)", {0, 86400});
  options.value("--seed", seed, "of the random tokens (default: 1)", {0});
  options.flag("--progress", progress_lines, "one line per step, also where standard error is no terminal");
  options.value("--isa", model.isa, "at most this instruction-set level (also DODECA_ISA)", "LEVEL");
  options.choice("--compute", model.compute, {"auto", "f32"}, "f32: the float32 reference route");
  options.values("--override-kv", model.override_kv, "replace a metadata value", "KEY=TYPE:VALUE");
  options.flag("--plain-topk", model.plain_topk, "no expert groups where the file names none");
  options.flag("--onednn", model.onednn, "multiply prompts by BF16 and F32 weights with oneDNN");
  console.add_flags(options);

  ShapeRequest shape_request;
  options.choice("--shape", shape_request.shape, runtime::shape_names(),
                 "random weights of a published model's shapes, no file");
  options.value("--layers", shape_request.n_layers,
                "with --shape: hold only so many layers, one of them dense; times are extrapolated to all", {1, 1024});
  options.value("--experts", shape_request.n_experts, "with --shape: fewer routed experts than the model has",
                {1, 1 << 16});
  options.value("--recipe", shape_request.recipe,
                "with --shape: a mixture that dodeca quantize knows, or one type (default: ud-q2_k_xl)", "NAME");

  Lists lists;
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
  options.values("-ctv,--cache-type-v", lists.type_v, "must equal -ctk: MLA has one cache", "TYPE");
  options.values("-t,--threads", lists.threads, "worker threads (default: one per physical core)", "N");
  for (std::size_t k = 0; k < kInertCount; ++k)
    options.values(kInertAxes[k].flags, lists.inert[k], fmt::format("accepted: {}", kInertAxes[k].help), "X");
  options.parse(args);

  run.warmup = !no_warmup;
  run.measure_limits = !no_bandwidth;
  run.seed = static_cast<std::uint64_t>(seed);
  const Environment environment = read_environment(model, run.seed);
  const std::unique_ptr<ShapeRun> shape = shape_run(options, shape_request, model, run, console);
  if (shape) lists.models = {shape->name()};
  const Axes axes = axes_from(options, lists, runtime::cli::default_threads(cpu::read_topology()));
  const std::vector<Test> tests = all_tests(axes);
  if (tests.empty()) throw Usage("nothing to run: -p and -n are 0 and there is no -pg");
  for (const InertAxis& axis : kInertAxes) {
    const std::string name = split(axis.flags, ',').front();
    if (options.given(name)) console.info(fmt::format("{}: {}", options.spelling(name), axis.help));
  }

  std::vector<std::unique_ptr<Report>> reports;
  const auto add_report = [&](const std::string& format, Report::Write write) {
    if (auto report = make_report(parse_format(format), axes, environment, std::move(write)))
      reports.push_back(std::move(report));
  };
  add_report(output, [](std::string_view text) {
    runtime::cli::print_out(text);
    runtime::cli::flush_out();
  });
  add_report(output_stderr, [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); });

  std::size_t index = 0;
  const bool say_steps =
      progress_lines || (!console.quiet && !console.no_progress && runtime::cli::stderr_is_terminal());
  const auto say = [&](std::string_view line) {
    if (say_steps) fmt::print(stderr, "dodeca-bench: benchmark {}/{}: {}\n", index, tests.size(), line);
  };
  Throughput throughput(model, run, shape ? shape->opener() : file_opener(model, console), console, say);
  if (shape && shape->partial()) shape->probe(tests, say);
  throughput.load(tests.front());  // a model that cannot be loaded leaves no half report
  for (const auto& report : reports) report->begin();
  for (const Test& test : tests) {
    ++index;
    Result result = throughput.run(test);
    if (shape && shape->partial()) shape->complete(index - 1, result);
    for (const auto& report : reports) report->add(result);
  }
  for (const auto& report : reports) report->end();
  return 0;
}

}  // namespace dodeca::bench
