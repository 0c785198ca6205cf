#include "runtime/weights/pooled.hpp"

#include <algorithm>
#include <map>
#include <numeric>

#include "cpu/memory.hpp"
#include "cpu/node_memory.hpp"

namespace dodeca::runtime {

std::uint64_t free_pool_bytes(int node, std::uint64_t page_bytes) {
  return cpu::huge_pool(node, page_bytes).free_bytes();
}

std::vector<std::uint64_t> pooled_bytes(const Plan& plan, const PoolBytes& free_bytes) {
  const Placement& placement = plan.options.placement;
  std::vector<std::uint64_t> pooled(static_cast<std::size_t>(plan.n_parts()), 0);
  const std::uint64_t page = cpu::pool_page_bytes(placement.pages);
  if (page == 0) return pooled;
  std::map<int, std::uint64_t> taken;  // of each pool
  for (std::size_t p = 0; p < pooled.size(); ++p) {
    if (!plan.holds(static_cast<std::int64_t>(p))) continue;
    std::vector<int> nodes = placement.nodes_of(p);
    if (nodes.empty()) nodes = {-1};
    const std::uint64_t bytes = plan.part_bytes(p), n_pages = (bytes + page - 1) / page,
                        each = (n_pages + nodes.size() - 1) / nodes.size() * page;
    if (!std::ranges::all_of(nodes, [&](int node) { return taken[node] + each <= free_bytes(node, page); })) continue;
    for (const int node : nodes) taken[node] += each;
    pooled[p] = bytes;
  }
  return pooled;
}

std::uint64_t bytes_beside_pools(const Plan& plan, const PoolBytes& free_bytes) {
  const std::vector<std::uint64_t> pooled = pooled_bytes(plan, free_bytes);
  return plan.bytes_here() - std::accumulate(pooled.begin(), pooled.end(), std::uint64_t{0});
}

}  // namespace dodeca::runtime
