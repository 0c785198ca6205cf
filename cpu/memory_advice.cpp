#include "cpu/memory_advice.hpp"

#include <iterator>

#include "cpu/system_file.hpp"

namespace dodeca::cpu {
namespace {

std::string list_of(const std::vector<int>& numbers) {
  std::string list;
  for (const int number : numbers) list += (list.empty() ? "" : ", ") + std::to_string(number);
  return list;
}

// How many cores have a governor that may keep them below their highest clock, and which the first one has. With a
// driver that chooses clocks itself (amd-pstate, intel_pstate) "powersave" is slow only with another preference than
// "performance".
std::string governor_advice(const Topology& topology, const std::string& root) {
  int n_slow = 0;
  std::string governor;
  for (const Core& core : topology.cores) {
    const std::string cpufreq = root + "/sys/devices/system/cpu/cpu" + std::to_string(core.first_pu) + "/cpufreq/";
    std::string chosen = read_text(cpufreq + "scaling_governor");
    chosen.resize(chosen.find_last_not_of(" \n") + 1);
    if (chosen.empty() || chosen == "performance") continue;
    if (read_text(cpufreq + "energy_performance_preference").starts_with("performance")) continue;
    if (n_slow++ == 0) governor = chosen;
  }
  if (n_slow == 0) return {};
  return "The frequency governor of " + std::to_string(n_slow) + " of " + std::to_string(std::ssize(topology.cores)) +
         " cores is \"" + governor +
         "\": cores that wait for memory may be clocked down; `cpupower frequency-set -g performance` keeps them fast.";
}

}  // namespace

std::vector<std::string> memory_advice(const Topology& topology, const MemoryUse& use, const std::string& root) {
  std::vector<std::string> advice;
  if (use.several_nodes && read_number(root + "/proc/sys/kernel/numa_balancing").value_or(0) != 0) {
    advice.push_back(
        "Automatic NUMA balancing is on: the kernel takes pages away to see who reads them, which stops threads, and "
        "may move them to another node; `sysctl kernel.numa_balancing=0` turns it off.");
  }
  if (read_number(root + "/proc/sys/vm/zone_reclaim_mode").value_or(0) != 0) {
    advice.push_back(
        "vm.zone_reclaim_mode is on: a node that is full drops file pages rather than use another node's memory, which "
        "makes loading slow; `sysctl vm.zone_reclaim_mode=0` turns it off.");
  }
  if (read_text(root + "/sys/kernel/mm/transparent_hugepage/enabled").find("[never]") != std::string::npos) {
    advice.push_back(
        "Transparent huge pages are off: reading weights in pages of 4 KiB is 10 to 20 % slower; `echo madvise > "
        "/sys/kernel/mm/transparent_hugepage/enabled` turns them on for programs that ask.");
  }
  if (const int n_cores = static_cast<int>(topology.cores.size()); use.n_threads > n_cores) {
    advice.push_back(
        std::to_string(use.n_threads) + " threads share " + std::to_string(n_cores) +
        " cores: the second thread of a core adds no memory bandwidth and makes every barrier slower; use " +
        std::to_string(n_cores) + " threads.");
  }
  if (const auto n = std::ssize(topology.forbidden_nodes); n > 0) {
    advice.push_back("The cpuset of this process forbids the memory of " + std::string(n == 1 ? "node " : "nodes ") +
                     list_of(topology.forbidden_nodes) +
                     ", whose size and bandwidth are lost; allow it with cpuset.mems of its control group (systemd: "
                     "AllowedMemoryNodes, containers: --cpuset-mems).");
  }
  if (std::string governor = governor_advice(topology, root); !governor.empty()) advice.push_back(std::move(governor));
  return advice;
}

}  // namespace dodeca::cpu
