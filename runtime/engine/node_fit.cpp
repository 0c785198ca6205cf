#include "runtime/engine/node_fit.hpp"

#include <fmt/core.h>

#include <optional>

#include "runtime/base/bytes.hpp"
#include "runtime/base/error.hpp"

namespace dodeca::runtime::engine {
namespace {

struct NodeNeed {
  int node;
  std::uint64_t weights, cache, work, free;
  std::uint64_t bytes() const { return weights + cache + work; }
};

}  // namespace

std::vector<std::vector<int>> place_cache(const Plan& plan, const exec::ExecutorOptions& options, int n_threads,
                                          const NodeMemory& memory) {
  const Placement& placement = plan.options.placement;
  const std::vector<int> nodes = placement.node_of_each();
  if (nodes.empty()) return {placement.all_nodes()};
  std::vector<std::size_t> here;
  std::vector<std::vector<int>> own_nodes;
  for (std::size_t p = 0; p < nodes.size(); ++p) {
    if (!plan.holds(static_cast<std::int64_t>(p))) continue;
    here.push_back(p);
    own_nodes.push_back(placement.part_nodes[p]);
  }
  exec::ExecutorOptions one = options;
  one.cache_copies = {{}};
  const std::uint64_t cache = exec::KvCache::bytes_needed(plan.config, one.cache_options(plan)),
                      work = exec::Executor::bytes_needed(plan, one, n_threads) - cache, n = here.size();
  const std::vector<std::uint64_t> pooled = pooled_bytes(plan, memory.pool);
  // The first that has no room.
  const auto short_node = [&](std::uint64_t cache_each) -> std::optional<NodeNeed> {
    for (const std::size_t p : here) {
      const std::uint64_t weights =
          memory.weights_are_there ? 0 : plan.part_bytes(p) - pooled[p] + plan.shared_bytes() / n;
      const NodeNeed need{nodes[p], weights, cache_each, work / n, memory.free(nodes[p])};
      if (need.bytes() > need.free) return need;
    }
    return {};
  };
  if (!short_node(cache)) return own_nodes;
  const std::optional<NodeNeed> need = short_node(cache / n);
  if (!need) return {placement.all_nodes()};
  throw Error(
      ErrorKind::kDoesNotFit,
      fmt::format("node {} needs {:.2f} GiB of memory (weights {:.2f}, its share of the cache {:.2f}, work space "
                  "{:.2f}), {:.2f} GiB are free there",
                  need->node, gib(need->bytes()), gib(need->weights), gib(need->cache), gib(need->work),
                  gib(need->free)))
      .with(memory.weights_are_there ? Remedy::kSmallerCache : Remedy::kOtherNodes);
}

}  // namespace dodeca::runtime::engine
