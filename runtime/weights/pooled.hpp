// What of a model's weights goes into pools of huge pages, which the system does not count as available memory.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/plan/plan.hpp"

namespace dodeca::runtime {

// Free bytes of a node's pool of such pages; node -1: of the machine's.
using PoolBytes = std::function<std::uint64_t(int node, std::uint64_t page_bytes)>;
std::uint64_t free_pool_bytes(int node, std::uint64_t page_bytes);  // as the system tells

// Bytes of each part here that a pool holds, as far as those before it leave room: a part that does not fit whole gets
// no page of it (cpu::Slab). Zeros where no pool was asked for.
std::vector<std::uint64_t> pooled_bytes(const Plan& plan, const PoolBytes& free_bytes = free_pool_bytes);
// Of the weights here, what is not in pools.
std::uint64_t bytes_beside_pools(const Plan& plan, const PoolBytes& free_bytes = free_pool_bytes);

}  // namespace dodeca::runtime
