#include "runtime/predict/machine_spec.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/base/bytes.hpp"

namespace dodeca::runtime::predict {
namespace {

// Of memory, what the system, the driver and other programs leave.
constexpr double kFreeOfMemory = 0.97, kFreeOfCard = 0.97;
// Members of a barrier's group (cpu/barrier.hpp).
constexpr int kGroup = 8;

// Between two measured numbers of threads, along a line; beyond them, the nearest.
double between(const std::vector<MeasuredTeam>& teams, int n_threads, double MeasuredTeam::*figure) {
  if (n_threads <= teams.front().n_threads) return teams.front().*figure;
  for (std::size_t i = 1; i < teams.size(); ++i) {
    const MeasuredTeam &a = teams[i - 1], &b = teams[i];
    if (n_threads > b.n_threads) continue;
    const double t = static_cast<double>(n_threads - a.n_threads) / (b.n_threads - a.n_threads);
    return a.*figure + t * (b.*figure - a.*figure);
  }
  return teams.back().*figure;
}

}  // namespace

std::string_view name_of(Evidence evidence) {
  static constexpr std::string_view kNames[] = {"unknown", "vendor", "measured", "published", "computed", "assumed"};
  return kNames[static_cast<std::size_t>(evidence)];
}

std::optional<double> KernelRates::ns_per_weight(quant::DType type, double n_rows, double at_clock_ghz) const {
  const auto found = types.find(type);
  if (found == types.end()) return std::nullopt;
  const Type& t = found->second;
  const double one = 1 / t.one_row, eight = 8 / t.eight_rows, many = 128 / t.many_rows;
  // Lines through the three: decoding, and what a row costs beside it.
  const double ns = n_rows <= 8 ? one + (std::max(eight, one) - one) * (std::max(n_rows, 1.0) - 1) / 7
                                : eight + (many - eight) * (n_rows - 8) / 120;
  return ns * clock_ghz / at_clock_ghz;
}

double MachineSpec::memory_bandwidth(int n_threads) const {
  if (!teams.empty()) return 1e9 * between(teams, n_threads, &MeasuredTeam::read_gb_s);
  const double sockets_used = std::min(sockets.value, static_cast<double>(n_threads));
  double memory = read_gb_s.known() ? read_gb_s.value : theoretical_gb_s() * read_share.value;
  if (sockets.value > 1) {
    // Each socket takes 1 - 1 / sockets of what it reads over the links.
    const double over_link = link_gb_s() / (1 - 1 / sockets.value);
    memory = std::min(memory, sockets_used * std::min(memory / sockets.value, over_link));
  }
  return 1e9 * memory;
}

double MachineSpec::read_bandwidth(int n_threads) const {
  const double memory = memory_bandwidth(n_threads);
  if (!teams.empty()) return memory;
  const int complexes_used = std::min(n_complexes(), n_threads);
  return std::min({memory, 1e9 * complexes_used * complex_gb_s.value, 1e9 * n_threads * core_gb_s.value});
}

double MachineSpec::barrier_seconds(int n_threads) const {
  if (n_threads < 2) return 0;
  if (!teams.empty()) return 1e-6 * between(teams, n_threads, &MeasuredTeam::barrier_us);
  if (barrier_us.known() && n_threads >= n_cores()) return 1e-6 * barrier_us.value;
  const int in_complex = static_cast<int>(std::ceil(static_cast<double>(n_threads) / n_complexes()));
  const int in_group = std::min(kGroup, in_complex),
            groups = static_cast<int>(std::ceil(static_cast<double>(n_threads) / in_group));
  if (groups == 1) return 1e-9 * near_ns.value * (in_group + kReleaseHandOvers);
  const bool one_complex = n_complexes() == 1 || n_threads <= static_cast<int>(cores_per_complex.value);
  const double between_groups = one_complex ? near_ns.value : far_ns.value;
  return 1e-9 * (near_ns.value * in_group + between_groups * (groups + kReleaseHandOvers));
}

Machine MachineSpec::machine() const {
  Machine machine{.name = title, .n_cores = n_cores(), .n_l3 = n_complexes(), .nodes = {}};
  const auto bytes = static_cast<std::uint64_t>(memory_gib.value * kGiB);
  for (int i = 0; i < n_nodes(); ++i)
    machine.nodes.push_back(
        {.id = i, .n_cores = n_cores() / n_nodes(), .memory_bytes = bytes / static_cast<std::uint64_t>(n_nodes())});
  machine.available_bytes =
      memory_gib.known() ? static_cast<std::uint64_t>(memory_gib.value * kGiB * kFreeOfMemory) : ~std::uint64_t{0};
  return machine;
}

Machine::Device CardSpec::device() const {
  const double bytes = memory_gib.value * kGiB;
  return {.name = title,
          .memory_bytes = static_cast<std::uint64_t>(bytes),
          .free_bytes = static_cast<std::uint64_t>(bytes * kFreeOfCard),
          .multiprocessors = static_cast<std::int32_t>(multiprocessors.value)};
}

}  // namespace dodeca::runtime::predict
