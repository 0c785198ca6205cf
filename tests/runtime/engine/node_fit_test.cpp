#include "runtime/engine/node_fit.hpp"

#include <doctest/doctest.h>

#include "runtime/base/error.hpp"
#include "runtime/model/shapes.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/small_config.hpp"

namespace dodeca::runtime::engine {
namespace {

using Copies = std::vector<std::vector<int>>;

Plan plan_on(const std::vector<std::vector<int>>& part_nodes) {
  const tests::MemorySource source(tests::small_mla_config(1, 2), 3);
  return make_plan(
      source, this_machine(),
      {.shares = equal_shares(static_cast<int>(part_nodes.size())), .placement = {.part_nodes = part_nodes}});
}

}  // namespace

TEST_CASE("the cache has a copy on every node where that fits, else one over all, else the node is named") {
  const Plan plan = plan_on({{0}, {2}});
  const exec::ExecutorOptions options{.n_positions = 1 << 16};
  const std::uint64_t both = exec::Executor::bytes_needed(plan, options, 2),
                      cache = exec::KvCache::bytes_needed(plan.config, options.cache_options(plan)),
                      work = both - cache, weights = plan.part_bytes(1) + plan.shared_bytes() / 2;
  const auto with = [&](std::uint64_t second) {
    return place_cache(plan, options, 2, {.free = [&](int node) { return node == 2 ? second : ~std::uint64_t{0}; }});
  };
  CHECK(with(weights + work / 2 + cache) == Copies{{0}, {2}});
  CHECK(with(weights + work / 2 + cache - 4096) == Copies{{0, 2}});
  CHECK(with(weights + work / 2 + cache / 2) == Copies{{0, 2}});
  try {
    with(plan.part_bytes(1) + cache / 2 - 4096);
    FAIL("node 2 has no room");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kDoesNotFit);
    CHECK(error.remedy() == Remedy::kOtherNodes);
    CHECK(error.sentence().starts_with("node 2 needs "));
  }
}

TEST_CASE("weights in a pool of huge pages, and those that lie there already, need no free memory") {
  Plan plan = plan_on({{0}, {2}});
  const exec::ExecutorOptions options{.n_positions = 1 << 16};
  const std::uint64_t cache = exec::KvCache::bytes_needed(plan.config, options.cache_options(plan)),
                      work = exec::Executor::bytes_needed(plan, options, 2) - cache, shared = plan.shared_bytes() / 2,
                      page = 2 << 20, pages = (plan.part_bytes(1) + page - 1) / page * page;
  const auto with = [&](std::uint64_t free, NodeMemory memory) {
    memory.free = [free](int) { return free; };
    return place_cache(plan, options, 2, memory);
  };
  const auto pool = [&](std::uint64_t bytes) {
    return NodeMemory{.pool = [bytes](int, std::uint64_t) { return bytes; }};
  };
  CHECK(with(work / 2 + cache, {.weights_are_there = true}) == Copies{{0}, {2}});
  CHECK_THROWS_AS(with(work / 2, {.weights_are_there = true}), Error);
  CHECK_THROWS_AS(with(shared + work / 2 + cache / 2, pool(pages)), Error);  // no pool is asked for
  plan.options.placement.pages = cpu::HugePages::k2M;
  CHECK(with(shared + work / 2 + cache, pool(pages)) == Copies{{0}, {2}});
  CHECK_THROWS_AS(with(shared + work / 2 + cache / 2, pool(pages - page)), Error);  // too small: not used
}

TEST_CASE("of parts in other processes nothing is asked for here") {
  Plan plan = plan_on({{0}, {0}, {0}});
  plan.options.here = 1;
  const exec::ExecutorOptions options{.n_positions = 1 << 12};
  const std::uint64_t need = plan.part_bytes(1) + plan.shared_bytes() + exec::Executor::bytes_needed(plan, options, 2);
  const auto with = [&](std::uint64_t free) {
    return place_cache(plan, options, 2, {.free = [free](int) { return free; }});
  };
  CHECK(with(need) == Copies{{0}});
  CHECK_THROWS_AS(with(need - 1), Error);
}

TEST_CASE("where parts are not bound to a node each there is one copy") {
  const NodeMemory no_limit{.free = [](int) { return ~std::uint64_t{0}; }};
  CHECK(place_cache(plan_on({{0, 1}}), {}, 2, no_limit) == Copies{{0, 1}});
  const tests::MemorySource source(tests::small_mla_config(1, 2), 3);
  const Plan virtual_nodes = make_plan(source, this_machine(), {.shares = equal_shares(3)});
  CHECK(place_cache(virtual_nodes, {}, 2, no_limit) == Copies{{}});
}

}  // namespace dodeca::runtime::engine
