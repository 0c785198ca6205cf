// Where a model lies on a machine with several memory nodes: into how many parts it is cut, which nodes each part lies on,
// and which processors work. A pure function of the machine and of what was asked for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cpu/memory.hpp"
#include "cpu/topology.hpp"
#include "runtime/plan/partition.hpp"

namespace dodeca::runtime {

// How the parts of a model lie in memory.
struct Placement {
  // OS indices of the nodes of each part: one: bound to it; several: interleaved over them; none: where first touched.
  std::vector<std::vector<int>> part_nodes = {};  // [parts], or none: no part is bound
  cpu::HugePages pages = cpu::HugePages::kTransparent;
  std::string reason = "one memory";  // "2 nodes (0, 1): a part on each"

  std::vector<int> nodes_of(std::size_t part) const {
    return part < part_nodes.size() ? part_nodes[part] : std::vector<int>();
  }
  // Of what all parts share.
  std::vector<int> all_nodes() const;
  bool bound() const { return !part_nodes.empty(); }
  // The node of each part, where every part is bound to one; none otherwise.
  std::vector<int> node_of_each() const;
};

struct NumaRequest {
  enum class Mode {
    kAuto,        // a part for every node with usable cores
    kOff,         // whole, memory where it is first touched
    kInterleave,  // whole, memory interleaved over all nodes
    kNodes,       // a part for each of some nodes, and no others' memory or cores
    kParts        // so many parts on one memory: nothing is bound
  };
  Mode mode = Mode::kAuto;
  std::vector<int> nodes = {};  // kNodes: OS indices
  int parts = 1;                // kParts
};
inline constexpr int kMostParts = 64;
// auto, off, interleave, nodes=0,2 or parts=4. Throws Error{kBadRequest}.
NumaRequest parse_numa(std::string_view text);

struct NumaChoice {
  Shares shares = equal_shares(1);
  Placement placement = {};
  cpu::Topology topology = {};  // with the processors that may work
  std::vector<std::string> warnings = {};
};
// whole: the model cannot be cut, so what would cut it interleaves memory instead. Throws Error{kBadRequest} for nodes
// that are not there or have no cores.
NumaChoice choose_numa(const cpu::Topology& topology, const NumaRequest& request, bool whole = false);

}  // namespace dodeca::runtime
