// What makes memory slow on this machine although it need not: settings of the kernel, of the cpuset, of processors.
#pragma once

#include <string>
#include <vector>

#include "cpu/topology.hpp"

namespace dodeca::cpu {

struct MemoryUse {
  bool several_nodes = false;  // memory of more than one node is used
  int n_threads = 0;
};

// One sentence each, with a full stop: what is, what it costs, what cures it (commands of the system). What cannot be
// read gives none. `root` is put before /proc and /sys (tests).
std::vector<std::string> memory_advice(const Topology& topology, const MemoryUse& use, const std::string& root = "");

}  // namespace dodeca::cpu
