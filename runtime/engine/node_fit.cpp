#include "runtime/engine/node_fit.hpp"

#include <fmt/core.h>

#include <numeric>
#include <optional>

#include "runtime/base/error.hpp"

namespace dodeca::runtime::engine {
namespace {

constexpr double kNodeGiB = 1024.0 * 1024.0 * 1024.0;

struct NodeNeed {
  int node;
  std::uint64_t weights, cache, work;
  std::uint64_t bytes() const { return weights + cache + work; }
};

}  // namespace

std::vector<std::vector<int>> place_cache(const Plan& plan, const exec::ExecutorOptions& options, int n_threads,
                                          const FreeBytes& free_on) {
  const Placement& placement = plan.options.placement;
  const std::vector<int> nodes = placement.node_of_each();
  if (nodes.empty()) return {placement.all_nodes()};
  exec::ExecutorOptions one = options;
  one.cache_copies = {{}};
  const std::uint64_t cache = exec::KvCache::bytes_needed(plan.config, one.cache_options(plan)),
                      work = exec::Executor::bytes_needed(plan, one, n_threads) - cache, n = nodes.size();
  // The first that has no room.
  const auto short_node = [&](std::uint64_t cache_each) -> std::optional<NodeNeed> {
    for (std::size_t p = 0; p < nodes.size(); ++p) {
      const NodeNeed need{nodes[p], plan.part_bytes(p) + plan.shared_bytes() / n, cache_each, work / n};
      if (need.bytes() > free_on(need.node)) return need;
    }
    return {};
  };
  if (!short_node(cache)) return placement.part_nodes;
  const std::optional<NodeNeed> need = short_node(cache / n);
  if (!need) return {placement.all_nodes()};
  throw Error(
      ErrorKind::kDoesNotFit,
      fmt::format("node {} needs {:.2f} GiB of memory (weights {:.2f}, its share of the cache {:.2f}, work space "
                  "{:.2f}), {:.2f} GiB are free there",
                  need->node, static_cast<double>(need->bytes()) / kNodeGiB,
                  static_cast<double>(need->weights) / kNodeGiB, static_cast<double>(need->cache) / kNodeGiB,
                  static_cast<double>(need->work) / kNodeGiB, static_cast<double>(free_on(need->node)) / kNodeGiB))
      .with(Remedy::kOtherNodes);
}

}  // namespace dodeca::runtime::engine
