#include "bench/cmd_kernels.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/kernel_bench.hpp"
#include "bench/membw.hpp"
#include "bench/test_matrix.hpp"
#include "cpu/bandwidth.hpp"
#include "cpu/peak.hpp"
#include "cpu/topology.hpp"
#include "runtime/base/error.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/cli/options.hpp"

namespace dodeca::bench {
namespace {

using Json = nlohmann::ordered_json;
using runtime::cli::Usage;

// What the rates are measured against.
struct Limits {
  double clock_hz = 0, read = 0;
  std::map<cpu::PeakKind, double> macs;
};

constexpr std::pair<cpu::PeakKind, const char*> kKinds[] = {
    {cpu::PeakKind::kInt8, "int8"}, {cpu::PeakKind::kBf16, "bf16"}, {cpu::PeakKind::kF32, "f32"}};

// The register-only loop of the arithmetic that a line does: int8 products of quantized weights, float32 otherwise;
// oneDNN multiplies BF16 as such.
const cpu::PeakKernel* peak_of(const cpu::MatmulKernel& kernel, cpu::Isa isa) {
  if (kernel.match == cpu::Match::kTolerance && kernel.dtype == quant::DType::kBF16) {
    if (const cpu::PeakKernel* bf16 = cpu::select_peak(cpu::PeakKind::kBf16, isa)) return bf16;
  }
  const bool floats = cpu::layout_of(kernel.dtype).act == cpu::ActFormat::kF32;
  return cpu::select_peak(floats ? cpu::PeakKind::kF32 : cpu::PeakKind::kInt8, isa);
}

struct Row {
  const cpu::MatmulKernel* kernel;
  std::int64_t columns;
  double bytes_per_weight;
  KernelBench::FromCache cache = {};
  KernelBench::FromMemory memory = {};
};

const char* const kHead =
    "| kernel                            | columns | cache GB/s | B/cycle | weights/cycle | weights/ns |  GMAC/s | % "
    "of peak "
    "| memory GB/s | weights/ns | % of read |\n"
    "| --------------------------------- | ------: | ---------: | ------: | ------------: | ---------: | ------: | "
    "--------: "
    "| ----------: | ---------: | --------: |\n";

double share(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

std::string table_row(const Row& row, const Limits& limits, int n_threads) {
  const double cycles = limits.clock_hz * n_threads, bytes = row.bytes_per_weight * row.cache.weights_per_s;
  const double macs = row.cache.weights_per_s * static_cast<double>(row.columns);
  std::string line =
      fmt::format("| {:<33} | {:7} | {:10.2f} | {:7.2f} | {:13.2f} | {:10.2f} | {:7.1f} | {:9.1f} ", row.kernel->name,
                  row.columns, bytes / 1e9, bytes / cycles, row.cache.weights_per_s / cycles,
                  row.cache.weights_per_s / 1e9, macs / 1e9, share(macs, row.cache.peak_macs_per_s));
  if (row.memory.weights_per_s > 0) {
    const double rate = row.memory.weights_per_s * row.bytes_per_weight;
    line += fmt::format("| {:11.2f} | {:10.2f} | {:9.1f} |\n", rate / 1e9, row.memory.weights_per_s / 1e9,
                        share(rate, row.memory.read_bytes_per_s));
  } else {
    line += fmt::format("| {:11} | {:10} | {:9} |\n", "", "", "");
  }
  return line;
}

Json json_row(const Row& row, const Limits& limits, int n_threads) {
  const double cycles = limits.clock_hz * n_threads, bytes = row.bytes_per_weight * row.cache.weights_per_s;
  const double macs = row.cache.weights_per_s * static_cast<double>(row.columns);
  Json json = {{"kernel", row.kernel->name},
               {"isa", cpu::name_of(row.kernel->isa)},
               {"type", quant::name_of(row.kernel->dtype)},
               {"columns", row.columns},
               {"cache_gb_per_s", bytes / 1e9},
               {"cache_bytes_per_cycle", bytes / cycles},
               {"cache_weights_per_cycle", row.cache.weights_per_s / cycles},
               {"cache_weights_per_ns", row.cache.weights_per_s / 1e9},
               {"gmac_per_s", macs / 1e9},
               {"peak_gmac_per_s", row.cache.peak_macs_per_s / 1e9},
               {"peak_percent", share(macs, row.cache.peak_macs_per_s)},
               {"memory_gb_per_s", nullptr},
               {"memory_weights_per_ns", nullptr},
               {"read_gb_per_s", nullptr},
               {"read_percent", nullptr}};
  if (row.memory.weights_per_s > 0) {
    const double rate = row.memory.weights_per_s * row.bytes_per_weight;
    json["memory_gb_per_s"] = rate / 1e9;
    json["memory_weights_per_ns"] = row.memory.weights_per_s / 1e9;
    json["read_gb_per_s"] = row.memory.read_bytes_per_s / 1e9;
    json["read_percent"] = share(rate, row.memory.read_bytes_per_s);
  }
  return json;
}

}  // namespace

std::vector<quant::DType> parse_types(const std::vector<std::string>& texts) {
  std::vector<quant::DType> types;
  for (const std::string& text : texts) {
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t comma = std::min(text.find(',', at), text.size());
      const quant::TypeInfo* type = quant::find_type(std::string_view(text).substr(at, comma - at));
      if (type == nullptr || !type->decodable)
        throw Usage(fmt::format("--types: nothing multiplies '{}'", text.substr(at, comma - at)));
      types.push_back(type->dtype);
      at = comma + 1;
    }
  }
  return types;
}

std::vector<const cpu::MatmulKernel*> kernels_to_measure(const std::vector<quant::DType>& types, cpu::Isa isa,
                                                         std::int64_t columns, bool best_only) {
  const bool many = columns >= cpu::kGemmMinRows;
  std::vector<const cpu::MatmulKernel*> lines;
  for (const cpu::MatmulKernel& line : many ? cpu::gemm_kernels() : cpu::gemv_kernels()) {
    if (line.isa > isa) continue;
    if (!types.empty() && std::find(types.begin(), types.end(), line.dtype) == types.end()) continue;
    if (best_only) {
      const cpu::MatmulChoice choice = cpu::select_matmul(line.dtype, isa);
      if ((many ? choice.gemm : choice.gemv) != &line) continue;
    }
    lines.push_back(&line);
  }
  return lines;
}

int cmd_kernels(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench kernels",
      "Measures every line of the matrix products: from cache beside the arithmetic peak, from memory beside a plain\n"
      "read. Up to 8 columns (activation rows) take the gemv lines, more take the gemm lines, which are measured from\n"
      "cache only. Beside each line and alternating with it, the plain read or the register-only loop of the same "
      "arithmetic\n"
      "(int8, float32; BF16 for oneDNN, which with AMX goes beyond it) is measured anew. Cycles are those of a chain "
      "of dependent additions while all threads run.",
      "dodeca-bench kernels --best                      the line of each type at the highest level\n"
      "  dodeca-bench kernels --types Q2_K,Q3_K -t 1 --columns 1,4,8,128\n"
      "  dodeca-bench kernels --isa avx2 --best -o json");
  runtime::cli::Console console;
  std::vector<std::string> type_texts, column_texts;
  std::string isa_name, output = "md";
  std::int32_t n_threads = 1;
  std::int64_t size_mib = 0, n_in = 2048;
  double seconds = 0.1;
  bool best_only = false;
  options.values("--types", type_texts, "weight types (default: all)", "TYPE,...");
  options.value("--isa", isa_name, "lines at most at this instruction-set level (also DODECA_ISA)", "LEVEL");
  options.flag("--best", best_only, "only the line of each type that is chosen without tuning");
  options.value("-t,--threads", n_threads, "threads, each with weights of its own (default: 1)", {1, 4096});
  options.values("--columns", column_texts, "activation rows, lists and ranges (default: 1,8,128)", "N");
  options.value("--n-in", n_in, "length of a row, a multiple of 256 (default: 2048)", {256, 1 << 16});
  options.value("--seconds", seconds, "time for each rate (default: 0.1)", {0.001, 3600});
  options.value("--size", size_mib, "weights in MiB (default: 4 times the L3 caches, at least 256)", {1, 1 << 24});
  options.choice("-o,--output", output, {"md", "json"}, "format (default: md)");
  console.add_flags(options);
  options.parse(args);

  if (n_in % 256 != 0) throw Usage(fmt::format("--n-in must be a multiple of 256, not {}", n_in));
  const cpu::Isa isa = runtime::cli::parse_isa(isa_name);
  const std::vector<quant::DType> types = parse_types(type_texts);
  std::vector<std::int64_t> columns;
  for (const std::string& text : column_texts)
    for (const std::int64_t n : parse_range("--columns", text, 1, 4096)) columns.push_back(n);
  if (columns.empty()) columns = {1, 8, 128};

  const cpu::Topology topology = cpu::read_topology();
  KernelBenchOptions bench_options{.isa = isa, .n_in = n_in, .seconds = seconds};
  bench_options.buffer_bytes = size_mib > 0 ? static_cast<std::size_t>(size_mib) << 20 : default_buffer_bytes(topology);
  bench_options.cache_bytes = std::max<std::uint64_t>(topology.l2_bytes, 256 << 10) / 2;
  constexpr std::size_t kLeastPerThread = 16 << 20;  // a tile of the widest type and row, many times
  if (const std::size_t least = kLeastPerThread * static_cast<std::size_t>(n_threads);
      bench_options.buffer_bytes < least)
    throw Usage(fmt::format("--size must be at least {} for {} threads", least >> 20, n_threads));
  if (const std::uint64_t free = cpu::available_memory_bytes(); bench_options.buffer_bytes > free)
    throw runtime::Error(runtime::ErrorKind::kDoesNotFit,
                         fmt::format("weights of {} do not fit in the {} that are free; a smaller --size would help",
                                     runtime::cli::bytes_text(static_cast<double>(bench_options.buffer_bytes)),
                                     runtime::cli::bytes_text(static_cast<double>(free))));

  const auto team = runtime::cli::make_team(n_threads, console);
  Limits limits;
  limits.clock_hz = cpu::clock_hz(*team, seconds);
  limits.read = cpu::read_bandwidth(*team, cpu::Buffer(bench_options.buffer_bytes), seconds, isa);
  for (const auto& [kind, name] : kKinds) limits.macs[kind] = cpu::peak_macs(*team, kind, seconds, isa);
  std::string facts = fmt::format(
      "{}, {} thread{}, clock {:.2f} GHz, plain read {:.2f} GB/s, register-only peaks in GMAC/s:", topology.cpu_model,
      n_threads, n_threads == 1 ? "" : "s", limits.clock_hz / 1e9, limits.read / 1e9);
  for (const auto& [kind, name] : kKinds)
    facts += limits.macs[kind] > 0 ? fmt::format(" {} {:.0f}", name, limits.macs[kind] / 1e9) : "";
  if (output == "md") runtime::cli::print_out(facts + "\n\n" + kHead);

  KernelBench bench(*team, bench_options);
  Json rows = Json::array();
  std::set<quant::DType> wanted;
  for (const std::int64_t n : columns)
    for (const cpu::MatmulKernel* line : kernels_to_measure(types, isa, n, best_only)) wanted.insert(line->dtype);
  for (const quant::DType dtype : wanted) {
    bench.use(dtype, *std::max_element(columns.begin(), columns.end()));
    for (const std::int64_t n : columns) {
      for (const cpu::MatmulKernel* line : kernels_to_measure({dtype}, isa, n, best_only)) {
        runtime::cli::throw_if_stopped();
        bench.check(*line, *cpu::select_matmul(dtype, cpu::Isa::kScalar).gemv, n);
        Row row{.kernel = line, .columns = n, .bytes_per_weight = bench.bytes_per_weight()};
        row.cache = bench.from_cache(*line, n, *peak_of(*line, isa));
        if (n < cpu::kGemmMinRows) row.memory = bench.from_memory(*line, n);
        if (output == "md") {
          runtime::cli::print_out(table_row(row, limits, n_threads));
          runtime::cli::flush_out();
        }
        rows.push_back(json_row(row, limits, n_threads));
      }
    }
  }
  if (output == "json") {
    Json peaks;
    for (const auto& [kind, name] : kKinds)
      peaks[name] = limits.macs[kind] > 0 ? Json(limits.macs[kind] / 1e9) : Json(nullptr);
    const Json report = {{"cpu_info", topology.cpu_model},
                         {"isa", cpu::name_of(isa)},
                         {"threads", n_threads},
                         {"n_in", n_in},
                         {"buffer_bytes", bench_options.buffer_bytes},
                         {"clock_ghz", limits.clock_hz / 1e9},
                         {"read_gb_per_s", limits.read / 1e9},
                         {"peak_gmac_per_s", peaks},
                         {"kernels", rows}};
    runtime::cli::print_out(report.dump(2) + "\n");
  }
  return 0;
}

}  // namespace dodeca::bench
