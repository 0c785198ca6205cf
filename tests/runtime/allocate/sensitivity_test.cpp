#include "runtime/allocate/sensitivity.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::allocate;

TEST_CASE("sensitivity groups: every tensor once, gate with up, bands of neighbouring layers") {
  std::vector<std::string> names = {"token_embd.weight", "output.weight"};
  for (int layer = 0; layer < 61; ++layer) {
    for (const char* kind : {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "attn_q_a", "unheard_of"})
      names.push_back("blk." + std::to_string(layer) + "." + kind + ".weight");
  }
  const std::vector<SensitivityGroup> groups = sensitivity_groups(names, 61);
  CHECK(groups.size() == 2 + 4 * kMaxBands);
  std::vector<int> seen(names.size());
  for (const SensitivityGroup& group : groups) {
    for (const std::size_t t : group.tensors) ++seen[t];
  }
  CHECK(std::ranges::all_of(seen, [](int n) { return n == 1; }));
  const auto experts =
      std::ranges::find_if(groups, [](const auto& g) { return g.name.starts_with("ffn_gate/up_exps"); });
  REQUIRE(experts != groups.end());
  CHECK(experts->name == "ffn_gate/up_exps, layers 0 to 7");
  CHECK(experts->tensors.size() == 16);
  CHECK(sensitivity_groups(std::vector<std::string>{"blk.0.ffn_up.weight"}, 1).front().name == "ffn_gate/up, layer 0");
}

TEST_CASE("estimated sensitivities: a layer's share shrinks with the depth") {
  CHECK(estimated_sensitivity("blk.3.ffn_down_exps.weight", 60) ==
        doctest::Approx(estimated_sensitivity("blk.0.ffn_down_exps.weight", 6) / 10));
  CHECK(estimated_sensitivity("output.weight", 60) == estimated_sensitivity("output.weight", 6));
  CHECK(estimated_sensitivity("blk.1.unheard_of.weight", 10) > 0);
}

}  // namespace
