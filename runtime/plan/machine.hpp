// A machine as a value: what a plan needs to know of it. This one's comes from its topology; catalogue entries of other
// machines would have the same form.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/topology.hpp"

namespace dodeca::runtime {

struct Machine {
  struct Node {
    int id = 0;       // the system's number
    int n_cores = 0;  // usable ones
    std::uint64_t memory_bytes = 0;
  };
  struct Device {
    std::string name;  // "NVIDIA GeForce RTX 3090"
    std::uint64_t memory_bytes = 0;
    std::uint64_t free_bytes = 0;      // of them, for this process
    std::int32_t multiprocessors = 1;  // over which products are spread
  };
  std::string name;  // of its processor
  int n_cores = 1, n_l3 = 1;
  std::vector<Node> nodes = {{}};     // of memory; at least one
  std::uint64_t available_bytes = 0;  // of memory, for this process; 2^64 - 1: not known
  std::vector<Device> devices = {};   // accelerators that were asked for
};

Machine machine_of(const cpu::Topology& topology, std::uint64_t available_bytes);
inline Machine this_machine() { return machine_of(cpu::read_topology(), cpu::available_memory_bytes()); }

}  // namespace dodeca::runtime
