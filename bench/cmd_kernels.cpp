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
#include "runtime/engine/workers.hpp"

namespace dodeca::bench {
namespace {

using Json = nlohmann::ordered_json;
using runtime::cli::Usage;

constexpr std::int64_t kMostRowsFromMemory = 64;  // more take so long that memory no longer matters

// What the rates are measured against.
struct Limits {
  double clock_hz = 0, read = 0;
  std::map<cpu::PeakKind, double> macs;
};

constexpr std::pair<cpu::PeakKind, const char*> kKinds[] = {
    {cpu::PeakKind::kInt8, "int8"}, {cpu::PeakKind::kBf16, "bf16"}, {cpu::PeakKind::kF32, "f32"}};

// The register-only loop of the arithmetic that a variant does: int8 products of quantized weights, float32 otherwise;
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
  std::vector<const cpu::MatmulKernel*> variants;
  for (const cpu::MatmulKernel& variant : many ? cpu::gemm_kernels() : cpu::gemv_kernels()) {
    if (!isa.has(variant.isa)) continue;
    if (!types.empty() && std::find(types.begin(), types.end(), variant.dtype) == types.end()) continue;
    if (best_only) {
      const cpu::MatmulChoice choice = cpu::select_matmul(variant.dtype, isa);
      if ((many ? choice.gemm : choice.gemv) != &variant) continue;
    }
    variants.push_back(&variant);
  }
  return variants;
}

namespace {

struct KernelsOptions {
  runtime::cli::Console console;
  KernelBenchOptions bench{.isa = cpu::Isa::kScalar, .n_in = 2048, .seconds = 0.1};
  std::vector<quant::DType> types;  // none: all
  std::vector<std::int64_t> columns;
  std::int32_t n_threads = 1;
  bool best_only = false, as_json = false;
};

// Weights far larger than the caches, and some for every thread. Throws Usage; Error{kDoesNotFit}.
void set_buffers(KernelsOptions& o, std::int64_t size_mib) {
  const cpu::Topology topology = cpu::read_topology();
  o.bench.buffer_bytes = size_mib > 0 ? static_cast<std::size_t>(size_mib) << 20 : default_buffer_bytes(topology);
  o.bench.cache_bytes = std::max<std::uint64_t>(topology.l2_bytes, 256 << 10) / 2;
  constexpr std::size_t kLeastPerThread = 16 << 20;  // a tile of the widest type and row, many times
  if (const std::size_t least = kLeastPerThread * static_cast<std::size_t>(o.n_threads); o.bench.buffer_bytes < least)
    throw Usage(fmt::format("--size must be at least {} for {} threads", least >> 20, o.n_threads));
  if (const std::uint64_t free = cpu::available_memory_bytes(); o.bench.buffer_bytes > free)
    throw runtime::Error(runtime::ErrorKind::kDoesNotFit,
                         fmt::format("weights of {} do not fit in the {} that are free; a smaller --size would help",
                                     runtime::cli::bytes_text(static_cast<double>(o.bench.buffer_bytes)),
                                     runtime::cli::bytes_text(static_cast<double>(free))));
}

KernelsOptions parse_kernels(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench kernels",
      "Measures every variant of the matrix products: from cache beside the arithmetic peak, from memory beside a\n"
      "plain read. Up to 8 columns (activation rows) take the gemv variants, more take the gemm variants; above 64\n"
      "they are measured from cache only. The plain read, or the register-only loop of the same arithmetic (int8,\n"
      "float32; BF16 for oneDNN, which with AMX goes beyond it), is measured anew beside each variant and takes turns\n"
      "with it.\n"
      "Cycles are those of a chain of dependent additions while all threads run.",
      "dodeca-bench kernels --best                      the variant of each type at the highest level\n"
      "  dodeca-bench kernels --types Q2_K,Q3_K -t 1 --columns 1,4,8,128\n"
      "  dodeca-bench kernels --isa avx2 --best -o json");
  KernelsOptions o;
  struct {
    std::vector<std::string> types, columns;
    std::string isa, output = "md";
    std::int64_t size_mib = 0;
  } words;
  options.values("--types", words.types, "weight types (default: all)", "TYPE,...");
  options.value("--isa", words.isa, "variants at most at this instruction-set level (also DODECA_ISA)", "LEVEL");
  options.flag("--best", o.best_only, "only the variant of each type that is chosen without tuning");
  options.value("-t,--threads", o.n_threads, "threads, each with weights of its own (default: 1)", {1, 4096});
  options.values("--columns", words.columns, "activation rows, lists and ranges (default: 1,8,128)", "N");
  options.value("--n-in", o.bench.n_in, "length of a row, a multiple of 256 (default: 2048)", {256, 1 << 16});
  options.value("--seconds", o.bench.seconds, "time for each rate (default: 0.1)", {0.001, 3600});
  options.value("--size", words.size_mib, "weights in MiB (default: 4 times the L3 caches, at least 256)",
                {1, 1 << 24});
  options.choice("-o,--output", words.output, {"md", "json"}, "format (default: md)");
  o.console.add_flags(options);
  options.parse(args);

  if (o.bench.n_in % 256 != 0) throw Usage(fmt::format("--n-in must be a multiple of 256, not {}", o.bench.n_in));
  o.bench.isa = runtime::cli::parse_isa(words.isa);
  o.types = parse_types(words.types);
  o.columns = parse_ranges("--columns", words.columns, 1, 4096);
  if (o.columns.empty()) o.columns = {1, 8, 128};
  o.as_json = words.output == "json";
  set_buffers(o, words.size_mib);
  return o;
}

Limits measure_limits(cpu::Team& team, const KernelBenchOptions& bench) {
  Limits limits;
  limits.clock_hz = cpu::clock_hz(team, bench.seconds);
  limits.read = cpu::read_bandwidth(team, cpu::Buffer(bench.buffer_bytes), bench.seconds, bench.isa);
  for (const auto& [kind, name] : kKinds) limits.macs[kind] = cpu::peak_macs(team, kind, bench.seconds, bench.isa);
  return limits;
}

std::string facts(const Limits& limits, int n_threads) {
  std::string text = fmt::format(
      "{}, {} thread{}, clock {:.2f} GHz, plain read {:.2f} GB/s, register-only peaks in GMAC/s:",
      cpu::read_topology().cpu_model, n_threads, n_threads == 1 ? "" : "s", limits.clock_hz / 1e9, limits.read / 1e9);
  for (const auto& [kind, name] : kKinds) {
    const auto peak = limits.macs.find(kind);
    if (peak->second > 0) text += fmt::format(" {} {:.0f}", name, peak->second / 1e9);
  }
  return text;
}

// Measures kernel after kernel and calls each(row).
template <class Each>
void measure_kernels(KernelBench& bench, const KernelsOptions& o, Each each) {
  const cpu::Isa isa = o.bench.isa;
  std::set<quant::DType> wanted;
  for (const std::int64_t n : o.columns)
    for (const cpu::MatmulKernel* variant : kernels_to_measure(o.types, isa, n, o.best_only))
      wanted.insert(variant->dtype);
  for (const quant::DType dtype : wanted) {
    bench.use(dtype, *std::max_element(o.columns.begin(), o.columns.end()));
    for (const std::int64_t n : o.columns) {
      for (const cpu::MatmulKernel* variant : kernels_to_measure({dtype}, isa, n, o.best_only)) {
        runtime::cli::throw_if_stopped();
        bench.check(*variant, *cpu::select_matmul(dtype, cpu::Isa::kScalar).gemv, n);
        Row row{.kernel = variant, .columns = n, .bytes_per_weight = bench.bytes_per_weight()};
        row.cache = bench.from_cache(*variant, n, *peak_of(*variant, isa));
        if (n <= kMostRowsFromMemory) row.memory = bench.from_memory(*variant, n);
        each(row);
      }
    }
  }
}

Json json_report(const KernelsOptions& o, const Limits& limits, const Json& rows) {
  Json peaks;
  for (const auto& [kind, name] : kKinds) {
    const double peak = limits.macs.at(kind);
    peaks[name] = peak > 0 ? Json(peak / 1e9) : Json(nullptr);
  }
  return {{"cpu_info", cpu::read_topology().cpu_model},
          {"isa", cpu::name_of(o.bench.isa)},
          {"threads", o.n_threads},
          {"n_in", o.bench.n_in},
          {"buffer_bytes", o.bench.buffer_bytes},
          {"clock_ghz", limits.clock_hz / 1e9},
          {"read_gb_per_s", limits.read / 1e9},
          {"peak_gmac_per_s", peaks},
          {"kernels", rows}};
}

}  // namespace

int cmd_kernels(std::span<const std::string> args) {
  const KernelsOptions o = parse_kernels(args);
  const auto team = runtime::engine::make_team(o.n_threads, o.console.log());
  const Limits limits = measure_limits(*team, o.bench);
  if (!o.as_json) runtime::cli::print_out(facts(limits, o.n_threads) + "\n\n" + kHead);
  KernelBench bench(*team, o.bench);
  Json rows = Json::array();
  measure_kernels(bench, o, [&](const Row& row) {
    if (!o.as_json) {
      runtime::cli::print_out(table_row(row, limits, o.n_threads));
      runtime::cli::flush_out();
    }
    rows.push_back(json_row(row, limits, o.n_threads));
  });
  if (o.as_json) runtime::cli::print_out(json_report(o, limits, rows).dump(2) + "\n");
  return 0;
}

}  // namespace dodeca::bench
