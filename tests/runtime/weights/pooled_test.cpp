#include "runtime/weights/pooled.hpp"

#include <doctest/doctest.h>

#include "tests/support/memory_source.hpp"
#include "tests/support/small_config.hpp"

namespace dodeca::runtime {
namespace {

using Bytes = std::vector<std::uint64_t>;
constexpr std::uint64_t kPage = 2 << 20;

Plan plan_with(const Placement& placement, int n_parts) {
  const tests::MemorySource source(tests::small_mla_config(1, 2), 3);
  return make_plan(source, this_machine(), {.shares = equal_shares(n_parts), .placement = placement});
}

}  // namespace

TEST_CASE("a part is in the pool of its node, or all of it is not") {
  Placement placement{.part_nodes = {{0}, {3}}, .pages = cpu::HugePages::k2M};
  const Plan plan = plan_with(placement, 2);
  const std::uint64_t first = plan.part_bytes(0), second = plan.part_bytes(1);
  const auto pages = [](std::uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; };
  const auto pool = [&](int node, std::uint64_t page) {
    CHECK(page == kPage);
    return node == 0 ? pages(first) : pages(second) - kPage;
  };
  CHECK(pooled_bytes(plan, pool) == Bytes{first, 0});
  placement.pages = cpu::HugePages::kTransparent;
  CHECK(pooled_bytes(plan_with(placement, 2), [](int, std::uint64_t) { return ~std::uint64_t{0}; }) == Bytes{0, 0});
}

TEST_CASE("parts that are bound to no node share the machine's pool") {
  const Plan plan = plan_with({.pages = cpu::HugePages::k2M}, 2);
  const std::uint64_t first = plan.part_bytes(0), pages = (first + kPage - 1) / kPage * kPage;
  const auto pool = [&](int node, std::uint64_t) {
    CHECK(node == -1);
    return pages;
  };
  CHECK(pooled_bytes(plan, pool) == Bytes{first, 0});
}

TEST_CASE("interleaved pages come from every node's pool alike") {
  const Plan plan = plan_with({.part_nodes = {{0, 1}}, .pages = cpu::HugePages::k2M}, 1);
  const std::uint64_t half = (plan.part_bytes(0) / kPage + 2) / 2 * kPage;
  CHECK(pooled_bytes(plan, [&](int, std::uint64_t) { return half; }) == Bytes{plan.part_bytes(0)});
  CHECK(pooled_bytes(plan, [&](int node, std::uint64_t) { return node == 0 ? 2 * half : 0; }) == Bytes{0});
}

}  // namespace dodeca::runtime
