// Whether a model fits its memory nodes, and how its cache lies there.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/exec/executor.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::engine {

using FreeBytes = std::function<std::uint64_t(int node)>;  // by OS index; 2^64 - 1: not known

// The nodes of each copy of the cache (exec::KvCacheOptions). Where parts are bound: a copy for every part, if each node
// has room for one beside its weights and its share of the work space, else one, interleaved over them. Throws
// Error{kDoesNotFit} that names the node which has no room even then.
std::vector<std::vector<int>> place_cache(const Plan& plan, const exec::ExecutorOptions& options, int n_threads,
                                          const FreeBytes& free_on);

}  // namespace dodeca::runtime::engine
