// Whether a model fits its memory nodes, and how its cache lies there.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/node_memory.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/weights/pooled.hpp"

namespace dodeca::runtime::engine {

// What is free, by OS index of a node.
struct NodeMemory {
  std::function<std::uint64_t(int node)> free = [](int node) { return cpu::available_node_bytes(node); };
  PoolBytes pool = free_pool_bytes;
  bool weights_are_there = false;  // the weights already lie there
};

// The nodes of each copy of the cache (exec::KvCacheOptions). Where parts are bound: a copy for every part here, if each node
// has room for one beside its weights and its share of the work space, else one, interleaved over them. Throws
// Error{kDoesNotFit} that names the node which has no room even then.
std::vector<std::vector<int>> place_cache(const Plan& plan, const exec::ExecutorOptions& options, int n_threads,
                                          const NodeMemory& memory);

}  // namespace dodeca::runtime::engine
