#include "runtime/plan/machine.hpp"

#include <algorithm>

namespace dodeca::runtime {

Machine machine_of(const cpu::Topology& topology, std::uint64_t available_bytes) {
  Machine machine{.name = topology.cpu_model,
                  .n_cores = std::max<int>(1, static_cast<int>(topology.cores.size())),
                  .n_l3 = 1,
                  .nodes = {},
                  .available_bytes = available_bytes};
  for (const cpu::Node& node : topology.nodes)
    machine.nodes.push_back({.id = node.os_index, .n_cores = 0, .memory_bytes = node.memory_bytes});
  if (machine.nodes.empty()) machine.nodes.emplace_back();
  for (const cpu::Core& core : topology.cores) {
    ++machine.nodes[core.node].n_cores;
    machine.n_l3 = std::max(machine.n_l3, core.l3 + 1);
  }
  return machine;
}

}  // namespace dodeca::runtime
