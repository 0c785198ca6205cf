#include "bench/membw.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "bench/test_matrix.hpp"
#include "cpu/bandwidth.hpp"
#include "cpu/memory.hpp"
#include "runtime/base/error.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/cli/options.hpp"

namespace dodeca::bench {
namespace {

// What belongs to one node of a machine.
cpu::Topology part_at(const cpu::Topology& topology, int node) {
  cpu::Topology part = topology;
  std::erase_if(part.cores, [&](const cpu::Core& core) { return core.node != node; });
  return part;
}

std::vector<std::int64_t> default_thread_counts(int n_cores) {
  std::vector<std::int64_t> counts;
  for (int n = 1; n < n_cores; n *= 2) counts.push_back(n);
  counts.push_back(n_cores);
  return counts;
}

}  // namespace

std::uint64_t last_level_cache_bytes(const cpu::Topology& topology) {
  int n_l3 = 1;
  for (const cpu::Core& core : topology.cores) n_l3 = std::max(n_l3, core.l3 + 1);
  return topology.l3_bytes * static_cast<std::uint64_t>(n_l3);
}

std::size_t default_buffer_bytes(const cpu::Topology& topology) {
  const std::uint64_t wanted = std::max<std::uint64_t>(4 * last_level_cache_bytes(topology), 256u << 20);
  return std::max<std::uint64_t>(std::min<std::uint64_t>(wanted, cpu::available_memory_bytes() / 4), 16u << 20);
}

int cmd_membw(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench membw", "Measures memory read bandwidth: the workers of a node stream through a buffer on a node.",
      "dodeca-bench membw\n  dodeca-bench membw -t 1-8 --size 2048 -o json");
  runtime::cli::Console console;
  std::vector<std::string> thread_texts;
  std::string output = "md";
  std::int64_t size_mib = 0;
  double seconds = 1;
  bool cross = false;
  options.values("-t,--threads", thread_texts, "threads per node, lists and ranges (default: 1, 2, 4 ... all cores)",
                 "N");
  options.value("--seconds", seconds, "time for each measurement, the best pass counts (default: 1)", {0.001, 3600});
  options.value("--size", size_mib, "buffer in MiB (default: 4 times the L3 caches, at least 256)", {1, 1 << 24});
  options.flag("--cross", cross, "also every node's workers on every other node's memory");
  options.choice("-o,--output", output, {"md", "json"}, "format (default: md)");
  console.add_flags(options);
  options.parse(args);

  const cpu::Topology topology = cpu::read_topology();
  const std::size_t bytes = size_mib > 0 ? static_cast<std::size_t>(size_mib) << 20 : default_buffer_bytes(topology);
  if (const std::uint64_t free = cpu::available_memory_bytes(); bytes > free)
    throw runtime::Error(runtime::ErrorKind::kDoesNotFit,
                         fmt::format("a buffer of {} does not fit in the {} that are free; a smaller --size would help",
                                     runtime::cli::bytes_text(static_cast<double>(bytes)),
                                     runtime::cli::bytes_text(static_cast<double>(free))));
  console.info(fmt::format("{}, {} node{}, buffer {}, huge pages {}", topology.cpu_model, topology.nodes.size(),
                           topology.nodes.size() == 1 ? "" : "s", runtime::cli::bytes_text(static_cast<double>(bytes)),
                           cpu::huge_page_mode()));
  bool unbound = false;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (output == "md")
    runtime::cli::print_out("| node | memory | threads |       GB/s |\n| ---: | -----: | ------: | ---------: |\n");
  for (int node = 0; node < static_cast<int>(topology.nodes.size()); ++node) {
    const cpu::Topology here = part_at(topology, node);
    const auto n_cores = static_cast<int>(here.cores.size());
    if (n_cores == 0) continue;
    std::vector<std::int64_t> counts = parse_ranges(options.spelling("-t"), thread_texts, 1, n_cores);
    if (counts.empty()) counts = default_thread_counts(n_cores);
    for (int memory = 0; memory < static_cast<int>(topology.nodes.size()); ++memory) {
      if (memory != node && !cross) continue;
      for (const std::int64_t n : counts) {
        runtime::cli::throw_if_stopped();
        cpu::Team team(cpu::choose_seats(here, static_cast<int>(n)));
        const int bound = topology.nodes.size() > 1 ? topology.nodes[memory].os_index : -1;
        const cpu::Buffer buffer(bytes, bound < 0 ? std::vector<int>() : std::vector<int>{bound});
        if (bound >= 0 && !buffer.bound() && !std::exchange(unbound, true))
          console.warn(
              "this system does not let memory be bound to a node: the memory may be on another one than named");
        const double rate = cpu::read_bandwidth(team, buffer, seconds);
        if (output == "md") {
          runtime::cli::print_out(fmt::format("| {:4} | {:6} | {:7} | {:10.2f} |\n", topology.nodes[node].os_index,
                                              topology.nodes[memory].os_index, n, rate / 1e9));
          runtime::cli::flush_out();
        }
        rows.push_back({{"node", topology.nodes[node].os_index},
                        {"memory_node", topology.nodes[memory].os_index},
                        {"threads", n},
                        {"buffer_bytes", bytes},
                        {"gb_per_s", rate / 1e9},
                        {"cpu_info", topology.cpu_model}});
      }
    }
  }
  if (output == "json") runtime::cli::print_out(rows.dump(2) + "\n");
  return 0;
}

}  // namespace dodeca::bench
