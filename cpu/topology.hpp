// What the machine looks like, from hwloc: NUMA nodes, cores, caches, and which of them this process may use.
// A Topology is a value; synthetic ones stand in for machines that are not here (tests, planning).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dodeca::cpu {

struct Core {
  int first_pu = 0;           // OS index of the first hardware thread that we may use; threads are bound to it
  int node = 0;               // index into Topology::nodes: the nearest node whose memory we may use
  int l3 = 0;                 // which L3 (core complex), counted over the machine
  std::vector<int> siblings;  // OS indices of its further hardware threads that we may use
  int package = 0;            // which socket, counted over the machine
};
struct Node {
  int os_index = 0;
  std::uint64_t memory_bytes = 0;
};
struct Topology {
  std::string cpu_model;          // as the kernel names it
  std::vector<Node> nodes;        // memory nodes that are the nearest one of a usable core
  std::vector<Core> cores;        // usable physical cores, node-major, then L3, then core
  std::vector<Node> memory_only;  // further nodes with memory that we may use, without usable cores
  // OS indices of nodes with memory that the cpuset (cpuset.mems) forbids. They are in no other list: binding to them
  // fails.
  std::vector<int> forbidden_nodes;
  // distances[a][b] between nodes[a] and nodes[b], as the firmware states them: 10 is local. Where it does not, 10 and
  // 20.
  std::vector<std::vector<int>> distances;
  std::uint64_t l2_bytes = 0;  // per core
  std::uint64_t l3_bytes = 0;  // per L3
  double cpu_quota = 0;  // processors' worth of time that cgroups grant (cpu.max), 0: no limit. More threads than that
                         // are stopped in turn, whatever the cores
  bool this_system = true;  // false: synthetic, nothing may be bound
};

// The running machine, restricted to what affinity and cgroups allow. Throws std::runtime_error when hwloc fails.
Topology read_topology();
// An hwloc synthetic description such as "package:2 numa:1 l3:4 core:8 pu:2". Throws std::invalid_argument.
Topology synthetic_topology(const std::string& description);
// What such a description cannot say, by OS index of nodes. What is empty stays as the description has it.
struct SyntheticNodes {
  std::vector<std::uint64_t> memory_bytes;  // of every node; 0: it has cores alone
  std::vector<std::vector<int>> distances;  // between all nodes
  std::vector<int> without_cores;           // nodes whose cores we may not use
  std::vector<int> forbidden;               // nodes that the cpuset forbids
};
// Throws std::invalid_argument also for a node that there is not.
Topology synthetic_topology(const std::string& description, const SyntheticNodes& nodes);

// The smallest processor quota of the cgroups (v1 or v2) above this process, in processors; 0 when there is none.
// `root` as for available_memory_bytes().
double cpu_quota(const std::string& root = "");

// Bytes that this process may still allocate: MemAvailable, lowered by every memory cgroup (v1 or v2) above it.
// RLIMIT_AS and RLIMIT_DATA count too. `root` is where /proc and /sys are looked for: another directory in tests. 2^64
// - 1 when the system tells nothing.
std::uint64_t available_memory_bytes(const std::string& root = "");

}  // namespace dodeca::cpu
