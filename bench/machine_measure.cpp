#include "bench/machine_measure.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <vector>

#include "bench/barrier_cost.hpp"
#include "bench/cmd_attention.hpp"
#include "bench/cmd_kernels.hpp"
#include "bench/kernel_bench.hpp"
#include "bench/membw.hpp"
#include "cpu/bandwidth.hpp"
#include "cpu/peak.hpp"
#include "cpu/seats.hpp"
#include "runtime/base/error.hpp"

namespace dodeca::bench {
namespace {

using runtime::predict::computed;
using runtime::predict::KernelRates;
using runtime::predict::MachineSpec;
using runtime::predict::measured;
using runtime::predict::MeasuredTeam;

// Of the time: by thread counts, for kernels, for attention.
constexpr double kTeamShare = 0.3, kKernelShare = 0.6, kAttentionShare = 0.1;
constexpr double kLeastSeconds = 0.001;  // of a measurement
constexpr std::int64_t kRowCounts[] = {1, 8, 128};

std::vector<int> team_sizes(int n_cores) {
  std::vector<int> sizes;
  for (int n = 1; n < n_cores; n *= 2) sizes.push_back(n);
  sizes.push_back(n_cores);
  return sizes;
}

void measure_teams(const cpu::Topology& topology, double seconds, cpu::Isa isa, MachineSpec& spec,
                   const runtime::cli::Console& console) {
  const std::size_t bytes = default_buffer_bytes(topology);
  if (const std::uint64_t free = cpu::available_memory_bytes(); bytes > free)
    throw runtime::Error(runtime::ErrorKind::kDoesNotFit,
                         fmt::format("a buffer of {} does not fit in the {} that are free",
                                     runtime::cli::bytes_text(static_cast<double>(bytes)),
                                     runtime::cli::bytes_text(static_cast<double>(free))));
  const std::vector<int> sizes = team_sizes(static_cast<int>(topology.cores.size()));
  const double each = std::max(kLeastSeconds, seconds / static_cast<double>(2 * sizes.size()));
  for (const int n : sizes) {
    runtime::cli::throw_if_stopped();
    cpu::Team team(cpu::choose_seats(topology, n));
    const cpu::Buffer buffer(bytes);
    const double read = cpu::read_bandwidth(team, buffer, each, isa) / 1e9;
    const double barrier = n > 1 ? measure_barrier(team, each).median_ns / 1e3 : 0;
    spec.teams.push_back({.n_threads = n, .read_gb_s = std::max(0.1, read), .barrier_us = barrier});
    console.info(fmt::format("{} thread{}: {:.1f} GB/s, a barrier {:.2f} us", n, n == 1 ? "" : "s", read, barrier));
  }
}

// The cores of one L3 alone.
double complex_read(const cpu::Topology& topology, double seconds, cpu::Isa isa) {
  cpu::Topology one = topology;
  std::erase_if(one.cores, [&](const cpu::Core& core) { return core.l3 != topology.cores.front().l3; });
  cpu::Team team(cpu::choose_seats(one, static_cast<int>(one.cores.size())));
  const cpu::Buffer buffer(default_buffer_bytes(topology));
  return cpu::read_bandwidth(team, buffer, std::max(kLeastSeconds, seconds), isa) / 1e9;
}

void measure_kernels(double seconds, cpu::Isa isa, KernelRates& rates) {
  cpu::Team team(1);
  const KernelBenchOptions base{.isa = isa,
                                .buffer_bytes = std::size_t{16} << 20,
                                .cache_bytes = std::size_t{512} << 10,
                                .n_in = 2048,
                                .seconds = kLeastSeconds};
  std::map<quant::DType, std::map<std::int64_t, const cpu::MatmulKernel*>> wanted;
  for (const std::int64_t n : kRowCounts) {
    for (const cpu::MatmulKernel* kernel : kernels_to_measure({}, isa, n, true)) wanted[kernel->dtype][n] = kernel;
  }
  KernelBenchOptions options = base;
  options.seconds = std::max(kLeastSeconds, seconds / static_cast<double>(std::max<std::size_t>(1, wanted.size()) * 3));
  KernelBench bench(team, options);
  const cpu::PeakKernel& peak = *cpu::select_peak(cpu::PeakKind::kF32, isa);
  for (const auto& [dtype, kernels] : wanted) {
    if (kernels.size() != std::size(kRowCounts)) continue;
    runtime::cli::throw_if_stopped();
    bench.use(dtype, kRowCounts[2]);
    const auto rate = [&](std::int64_t n) {
      return bench.from_cache(*kernels.at(n), n, peak).weights_per_s * static_cast<double>(n) / 1e9;
    };
    rates.types[dtype] = {.one_row = rate(1), .eight_rows = rate(8), .many_rows = rate(128)};
  }
}

KernelRates::Attention attention_of(quant::DType cache, cpu::Isa isa, double seconds) {
  const AttentionTimes t = measure_attention(isa, cache, std::max(kLeastSeconds, seconds / 14));
  return {.load = t.load, .attend = t.fold, .make = t.load + 2 * t.project + t.load_head, .prompt = t.rows};
}

}  // namespace

MachineSpec measure_machine(double seconds, cpu::Isa isa, const runtime::cli::Console& console) {
  const cpu::Topology topology = cpu::read_topology();
  const auto n_cores = std::max<std::int64_t>(1, std::ssize(topology.cores));
  std::int64_t n_l3 = 1;
  for (const cpu::Core& core : topology.cores) n_l3 = std::max<std::int64_t>(n_l3, core.l3 + 1);
  const auto n_nodes = std::max<std::int64_t>(1, std::ssize(topology.nodes));
  double memory = 0;
  for (const cpu::Node& node : topology.nodes) memory += static_cast<double>(node.memory_bytes);
  MachineSpec spec{.name = "this-machine", .title = topology.cpu_model, .isa = isa, .rates = {.name = "measured"}};
  cpu::Team one(1);
  const double clock = cpu::clock_hz(one, std::max(kLeastSeconds, 0.01 * seconds)) / 1e9;
  measure_teams(topology, kTeamShare * seconds, isa, spec, console);
  measure_kernels(kKernelShare * seconds, isa, spec.rates);
  spec.rates.clock_ghz = clock;
  spec.rates.origin = measured(0, "dodeca-bench --write-machine, one thread");
  spec.rates.words = attention_of(quant::DType::kF16, isa, kAttentionShare * seconds / 2);
  spec.rates.bytes = attention_of(quant::DType::kI8, isa, kAttentionShare * seconds / 2);

  const MeasuredTeam& all = spec.teams.back();
  // The system tells nodes and complexes, not sockets: nodes count as those of one socket.
  spec.sockets = computed(1, "the system's nodes count as those of one socket");
  spec.nodes_per_socket = computed(static_cast<double>(n_nodes), "memory nodes of the system");
  spec.complexes = computed(static_cast<double>(n_l3), "L3 caches that may be used");
  const std::int64_t cores_of_l3 = (n_cores + n_l3 - 1) / n_l3;
  spec.cores_per_complex = computed(static_cast<double>(cores_of_l3), "cores that may be used over L3 caches");
  spec.clock_ghz = measured(clock, "a chain of dependent additions, one thread");
  spec.channels = computed(1, "not known: all that is read counts as one channel");
  spec.mt_per_s = computed(std::max(100.0, all.read_gb_s * 1000 / 8), "not known: as much as is read");
  spec.read_share = computed(1, "what is read counts as all there is");
  spec.core_gb_s = measured(spec.teams.front().read_gb_s, "read by one thread");
  spec.complex_gb_s = n_l3 > 1 ? measured(complex_read(topology, 0.02 * seconds, isa), "read by the cores of one L3")
                               : measured(all.read_gb_s, "read by all cores, which share one L3");
  spec.socket_link_gb_s = computed(all.read_gb_s, "not known: what is read crosses it where it has to");
  spec.near_ns = computed(std::max(0.1, 1e3 * all.barrier_us / (static_cast<double>(n_cores) + 2)),
                          "the barrier of all cores over their number");
  spec.far_ns = spec.near_ns;
  spec.read_gb_s = measured(all.read_gb_s, "read by all cores");
  if (all.barrier_us > 0.001) spec.barrier_us = measured(all.barrier_us, "median of all cores");
  if (memory > 0) spec.memory_gib = measured(memory / (1024.0 * 1024 * 1024), "memory of the system's nodes");
  return spec;
}

}  // namespace dodeca::bench
