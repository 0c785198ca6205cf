#include "bench/cmd_tune.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "bench/cmd_kernels.hpp"
#include "bench/kernel_bench.hpp"
#include "bench/statistics.hpp"
#include "bench/tuning_choice.hpp"
#include "cpu/processor.hpp"
#include "cpu/topology.hpp"
#include "runtime/base/error.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/cli/thread_choice.hpp"
#include "runtime/cli/tuning.hpp"
#include "runtime/engine/workers.hpp"
#include "runtime/plan/tuning_file.hpp"

namespace dodeca::bench {
namespace {

using runtime::cli::Usage;

constexpr std::int64_t kTuneColumns = 2048;
constexpr double kHopeless = 2;                       // times the fastest variant's time: not worth a race
constexpr std::int64_t kFewRows = 8, kManyRows = 32;  // of the trials that say so, of gemv and gemm

std::vector<quant::DType> types_to_tune(const std::vector<std::string>& texts) {
  std::vector<quant::DType> types = parse_types(texts);
  for (const quant::DType dtype : types)
    if (cpu::layout_of(dtype).kind == cpu::LayoutKind::kRows)
      throw Usage(fmt::format("--types: {} has no variants of its own", quant::name_of(dtype)));
  if (types.empty())
    for (const cpu::Layout& layout : cpu::all_layouts())
      if (layout.kind != cpu::LayoutKind::kRows) types.push_back(layout.dtype);
  return types;
}

// The exact variants of a list that are worth a race, the rule's own among them; all give its bits.
std::vector<const cpu::MatmulKernel*> promising(KernelBench& bench, std::span<const cpu::MatmulKernel> all,
                                                const cpu::MatmulKernel& rule, const cpu::MatmulKernel& scalar,
                                                cpu::Isa isa, std::int64_t n_rows) {
  std::vector<const cpu::MatmulKernel*> variants;
  for (const cpu::MatmulKernel& variant : all) {
    if (variant.dtype != rule.dtype || !isa.has(variant.isa) || variant.match != cpu::Match::kExact) continue;
    bench.check(variant, scalar, n_rows);
    variants.push_back(&variant);
  }
  std::vector<double> seconds;
  for (const auto& times : bench.race(variants, {&n_rows, 1}, 0)) seconds.push_back(median(times[0]));
  const double least = *std::ranges::min_element(seconds);
  std::vector<const cpu::MatmulKernel*> kept;
  for (std::size_t i = 0; i < variants.size(); ++i)
    if (variants[i] == &rule || seconds[i] <= kHopeless * least) kept.push_back(variants[i]);
  return kept;
}

TypeTimes measure(KernelBench& bench, quant::DType dtype, cpu::Isa isa, double seconds) {
  const cpu::MatmulChoice rule = cpu::select_matmul(dtype, isa);
  const cpu::MatmulKernel& scalar = *cpu::select_matmul(dtype, cpu::Isa::kScalar).gemv;
  bench.use(dtype, kTuneRows.back());
  std::vector<const cpu::MatmulKernel*> variants =
      promising(bench, cpu::gemv_kernels(), *rule.gemv, scalar, isa, kFewRows);
  const std::size_t n_gemv = variants.size();
  for (const cpu::MatmulKernel* variant : promising(bench, cpu::gemm_kernels(), *rule.gemm, scalar, isa, kManyRows))
    variants.push_back(variant);
  const std::size_t n_exact = variants.size();
  if (const auto other = cpu::select_matmul(dtype, isa, cpu::FloatGemm::kOneDnn); other.gemm != rule.gemm)
    variants.push_back(other.gemm);
  KernelBench::Times times = bench.race(variants, kTuneRows, seconds);
  TypeTimes result{dtype, {}, {}, {}};
  for (std::size_t i = 0; i < variants.size(); ++i)
    (i < n_gemv    ? result.gemv
     : i < n_exact ? result.gemm
                   : result.onednn)
        .push_back({variants[i], std::move(times[i])});
  return result;
}

struct Tuned {
  TypeTimes times;
  TuningChoice choice;
  // oneDNN's time over that of the chosen variant at the most rows; no value where oneDNN has no variant.
  std::optional<TimeRatio> onednn;
};

Tuned tune(KernelBench& bench, quant::DType dtype, cpu::Isa isa, double seconds) {
  Tuned tuned{measure(bench, dtype, isa, seconds), {}, {}};
  tuned.choice = choose_variants(tuned.times, isa);
  const auto is_chosen = [&](const VariantTimes& times) { return times.variant->isa == tuned.choice.tuned.gemm; };
  if (!tuned.times.onednn.empty())
    tuned.onednn = time_ratio(tuned.times.onednn.front(), *std::ranges::find_if(tuned.times.gemm, is_chosen),
                              kTuneRows.size() - 1, kTuneRows.size());
  return tuned;
}

// Nanoseconds for one activation row times one weight row.
double row_ns(const VariantTimes& times, std::size_t n) {
  return 1e9 * median(times.seconds[n]) / static_cast<double>(kTuneRows[n] * cpu::kTileRows);
}

std::string table_head() {
  std::string head = fmt::format("| {:<27} |", "variant"), rule = fmt::format("| {:-<27} |", "");
  for (const std::int64_t n : kTuneRows) {
    head += fmt::format(" {:>6} |", n);
    rule += " -----: |";
  }
  return head + " taken        |\n" + rule + " ------------ |\n";
}

std::string table_rows(const Tuned& tuned) {
  std::string text;
  const auto add = [&](const VariantTimes& times, const std::string& taken) {
    text += fmt::format("| {:<27} |", times.variant->name);
    for (std::size_t n = 0; n < kTuneRows.size(); ++n) text += fmt::format(" {:6.2f} |", row_ns(times, n));
    text += fmt::format(" {:<12} |\n", taken);
  };
  const cpu::TunedVariants& taken = tuned.choice.tuned;
  for (const VariantTimes& times : tuned.times.gemv)
    add(times, times.variant->isa == taken.gemv ? fmt::format("to {} rows", taken.gemm_min_rows - 1) : "");
  for (const VariantTimes& times : tuned.times.gemm)
    add(times, times.variant->isa == taken.gemm ? fmt::format("from {} rows", taken.gemm_min_rows) : "");
  for (const VariantTimes& times : tuned.times.onednn) add(times, "--onednn");
  return text;
}

std::string conclusions(const std::vector<Tuned>& all) {
  std::string text;
  for (const Tuned& tuned : all)
    for (const std::string& difference : tuned.choice.differences)
      text += fmt::format("{}: {}\n", quant::name_of(tuned.times.dtype), difference);
  if (text.empty())
    text = fmt::format("no variant is clearly faster than the one of the highest level, with gemm from {} rows on\n",
                       cpu::kGemmMinRows);
  for (const Tuned& tuned : all) {
    if (tuned.onednn)
      text += fmt::format("--onednn is {} for prompts with {} weights here: {:.2f} of the time at {} rows\n",
                          tuned.onednn->clearly_faster() ? "a gain" : "no clear gain",
                          quant::name_of(tuned.times.dtype), tuned.onednn->median, kTuneRows.back());
  }
  return text;
}

nlohmann::ordered_json tuned_json(const Tuned& tuned) {
  nlohmann::ordered_json variants = nlohmann::ordered_json::array();
  for (const auto* list : {&tuned.times.gemv, &tuned.times.gemm, &tuned.times.onednn}) {
    for (const VariantTimes& times : *list) {
      std::vector<double> ns;
      for (std::size_t n = 0; n < kTuneRows.size(); ++n) ns.push_back(row_ns(times, n));
      variants.push_back({{"variant", times.variant->name}, {"row_ns", ns}});
    }
  }
  const cpu::TunedVariants& chosen = tuned.choice.tuned;
  nlohmann::ordered_json json = {{"type", quant::name_of(chosen.dtype)},
                                 {"rounds", tuned.times.gemv.front().seconds.front().size()},
                                 {"variants", variants},
                                 {"gemv", cpu::name_of(chosen.gemv)},
                                 {"gemm", cpu::name_of(chosen.gemm)},
                                 {"gemm_min_rows", chosen.gemm_min_rows},
                                 {"differences", tuned.choice.differences},
                                 {"onednn_ratio", nullptr},
                                 {"onednn_pays", nullptr}};
  if (tuned.onednn) {
    json["onednn_ratio"] = tuned.onednn->median;
    json["onednn_pays"] = tuned.onednn->clearly_faster();
  }
  return json;
}

// What the file says of types that were not measured now stays.
void write_choices(const std::vector<Tuned>& all, bool some_types, const runtime::cli::TuningSearch& search,
                   const runtime::cli::Console& console) {
  cpu::MatmulTuning tuning;
  if (some_types) tuning = runtime::cli::find_tuning(search, console.log());
  for (const Tuned& tuned : all) {
    std::erase_if(tuning, [&](const cpu::TunedVariants& kept) { return kept.dtype == tuned.times.dtype; });
    tuning.push_back(tuned.choice.tuned);
  }
  runtime::write_tuning(tuning, search.processor, search.isa, search.user_file);
  console.info(fmt::format("{} types written to {}", tuning.size(), search.user_file.string()));
}

}  // namespace

int cmd_tune(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench tune",
      "Measures which matrix products are the fastest on this processor and writes that to a file, which dodeca and\n"
      "dodeca-bench read whenever they load a model. Speed is all that it changes: every choice gives the same bits.\n"
      "The variants of a type take turns, with weights from cache; another one than that of the highest level, or\n"
      "another number of rows from which gemm takes over, is chosen where it is clearly faster: by 3 % in the median\n"
      "and at all in three of four rounds. oneDNN's products are measured beside them; --onednn remains the user's\n"
      "choice, since it changes results. DODECA_TUNING=FILE names another file to read, DODECA_TUNING=none none.\n"
      "Also chooses anew how many threads generation and prompts get without -t, from the speed of memory, and keeps\n"
      "that in dodeca/threads.json in $XDG_CACHE_HOME or ~/.cache.",
      "dodeca-bench tune                                half a minute, on a machine with nothing else to do\n"
      "  dodeca-bench tune --types Q4_K,Q6_K --seconds 5 --dry-run");
  runtime::cli::Console console;
  std::vector<std::string> type_texts;
  std::string output = "md", path;
  std::int32_t n_threads = 1;
  double seconds = 1;
  bool dry_run = false;
  options.values("--types", type_texts, "weight types; what the file says of others stays (default: all)", "TYPE,...");
  options.value("--seconds", seconds, "time for each type (default: 1)", {0.001, 3600});
  options.value("-t,--threads", n_threads, "cores kept busy, one of which is measured (default: 1)", {1, 4096});
  options.choice("-o,--output", output, {"md", "json"}, "format (default: md)");
  options.value("--out", path, "file to write (default: dodeca/tuning.json in $XDG_CONFIG_HOME or ~/.config)", "FILE",
                runtime::cli::FileUse::kWrites);
  options.flag("--dry-run", dry_run, "write no file");
  console.add_flags(options);
  options.parse(args);

  const std::vector<quant::DType> types = types_to_tune(type_texts);
  runtime::cli::TuningSearch search = runtime::cli::tuning_search(cpu::host_isa());
  search.variable.clear();
  if (!path.empty()) search.user_file = path;
  if (search.user_file.empty() && !dry_run) throw Usage("there is no home directory to write to: --out or --dry-run");

  const cpu::Topology topology = cpu::read_topology();
  constexpr std::size_t kBufferPerThread = 4 << 20;  // twice what a race takes of the widest type
  KernelBenchOptions bench_options{.isa = search.isa, .n_in = kTuneColumns};
  bench_options.buffer_bytes = kBufferPerThread * n_threads;
  bench_options.cache_bytes = std::max<std::uint64_t>(topology.l2_bytes, 256 << 10) / 2;
  const auto team = runtime::engine::make_team(n_threads, console.log());
  KernelBench bench(*team, bench_options);
  if (output == "md")
    runtime::cli::print_out(
        fmt::format("{} ({}), {}: ns for one activation row times one weight row of {} columns, by activation rows\n\n",
                    search.processor, topology.cpu_model, cpu::name_of(search.isa), kTuneColumns) +
        table_head());
  std::vector<Tuned> all;
  for (const quant::DType dtype : types) {
    runtime::cli::throw_if_stopped();
    all.push_back(tune(bench, dtype, search.isa, seconds));
    if (output == "md") {
      runtime::cli::print_out(table_rows(all.back()));
      runtime::cli::flush_out();
    }
  }
  const runtime::cli::ThreadChoice choice =
      runtime::cli::refresh_threads(topology, dry_run ? std::filesystem::path() : runtime::cli::thread_cache_file(),
                                    runtime::cli::read_rate_of(topology), console.log());
  if (output == "md") {
    runtime::cli::print_out("\n" + conclusions(all) + runtime::cli::threads_text(choice) + "\n");
  } else {
    nlohmann::ordered_json report = {{"processor", search.processor},
                                     {"cpu_info", topology.cpu_model},
                                     {"isa", cpu::name_of(search.isa)},
                                     {"threads", n_threads},
                                     {"n_in", kTuneColumns},
                                     {"rows", kTuneRows},
                                     {"types", nlohmann::ordered_json::array()}};
    report["generation_threads"] = choice.generation;
    report["prompt_threads"] = choice.prompts;
    report["threads_reason"] = choice.reason;
    for (const Tuned& tuned : all) report["types"].push_back(tuned_json(tuned));
    runtime::cli::print_out(report.dump(2) + "\n");
  }
  runtime::cli::flush_out();
  if (!dry_run) write_choices(all, !type_texts.empty(), search, console);
  return 0;
}

}  // namespace dodeca::bench
