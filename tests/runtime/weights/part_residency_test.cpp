#include "runtime/weights/part_residency.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "cpu/topology.hpp"
#include "runtime/base/error.hpp"
#include "tests/support/demo_model.hpp"
#include "tests/support/error_of.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/small_config.hpp"

namespace dodeca::runtime {
namespace {

struct Lines {
  std::vector<std::string> info, warnings;
  Log log() {
    return
        [this](Level level, std::string_view line) { (level == Level::kWarning ? warnings : info).emplace_back(line); };
  }
};

std::string refusal_of(const std::vector<PartResidency>& parts, bool allow_remote, Lines& lines) {
  return tests::sentence_of([&] { check_residency(parts, allow_remote, lines.log()); });
}

// Memory in use on a node, or where the system likes.
cpu::Slab touched_slab(const std::vector<int>& nodes) {
  constexpr std::size_t kBytes = std::size_t{4} << 20;
  cpu::Slab slab(kBytes, {nodes});
  std::memset(slab.take(kBytes), 1, kBytes);
  return slab;
}

}  // namespace

TEST_CASE("parts that lie where they should are shown, and one that does not is refused") {
  Lines lines;
  std::vector<PartResidency> parts = {{.part = 0, .nodes = {0}, .bytes = std::uint64_t{3} << 30, .huge = 0.5},
                                      {.part = 1, .nodes = {2}, .bytes = std::uint64_t{1} << 30, .local = 0.995}};
  CHECK(refusal_of(parts, false, lines) == "no error");
  CHECK(lines.info == std::vector<std::string>{"node 0: 3.00 GiB of weights, 100.0 % local, 50 % in huge pages",
                                               "node 2: 1.00 GiB of weights, 99.5 % local, 0 % in huge pages"});
  parts[1].local = 0.88;
  CHECK(refusal_of(parts, false, lines) == "12.0 % of the 1.00 GiB that belong on node 2 lie elsewhere");
  CHECK(lines.warnings.empty());
  CHECK(refusal_of(parts, true, lines) == "no error");
  CHECK(lines.warnings == std::vector<std::string>{"12.0 % of the 1.00 GiB that belong on node 2 lie elsewhere"});
}

TEST_CASE("what the system does not tell is said, and is no refusal") {
  Lines lines;
  const std::vector<PartResidency> parts = {
      {.part = 0, .nodes = {0}, .bytes = std::uint64_t{1} << 30, .local = 0, .unknown = "move_pages is forbidden"}};
  CHECK(refusal_of(parts, false, lines) == "no error");
  CHECK(lines.info.empty());
  REQUIRE(lines.warnings.size() == 1);
  CHECK(lines.warnings.front().find("where they are is not known: move_pages is forbidden") != std::string::npos);
}

TEST_CASE("a misplaced slab is found out by the kernel's own word") {
  // On a machine with one node nothing can lie on another; that the memory is not on a node that is not there shows the
  // same. With several nodes the slab really is on another one (tests/numa).
  const cpu::Topology topology = cpu::read_topology();
  const int here = topology.nodes.front().os_index,
            there = topology.nodes.size() > 1 ? topology.nodes[1].os_index : here + 1;
  const cpu::Slab slab = touched_slab({here});
  Lines lines;
  const PartResidency right = residency_of(slab, 0, {here}, true), wrong = residency_of(slab, 0, {there}, true);
  if (!right.unknown.empty()) {
    MESSAGE("skipped: where pages are is not told here: ", right.unknown);
    return;
  }
  CHECK(right.local == 1);
  CHECK(refusal_of({right}, false, lines) == "no error");
  CHECK(wrong.local == 0);
  CHECK(refusal_of({wrong}, false, lines).starts_with("100.0 % of the 0.00 GiB that belong on node"));
  CHECK(residency_of(slab, 0, {there}, false).local == 0);       // by samples too
  CHECK(residency_of(slab, 0, {here, there}, true).local == 1);  // interleaved: on either
}

TEST_CASE("a model's parts lie in a slab each, as large as the plan says") {
  ModelConfig config = tests::small_mla_config(1, 2);
  config.n_shared_experts = 1;
  const tests::MemorySource source(config, 3);
  cpu::Team team(2);
  for (const int n_parts : {1, 2, 3}) {
    const auto model = tests::load_model(source, team, {.shares = equal_shares(n_parts)});
    const Plan& plan = model->plan();
    const std::vector<PartResidency> parts = residency_of(*model, true);
    REQUIRE(static_cast<int>(parts.size()) == n_parts);
    std::uint64_t all = plan.shared_bytes();
    for (std::size_t p = 0; p < parts.size(); ++p) {
      all += plan.part_bytes(p);
      CHECK(parts[p].bytes >= plan.part_bytes(p));
      CHECK(parts[p].bytes < plan.part_bytes(p) + 64 * plan.weights.size() * 8);  // pieces begin on cache lines
    }
    CHECK(all == plan.bytes);
  }
}

}  // namespace dodeca::runtime
