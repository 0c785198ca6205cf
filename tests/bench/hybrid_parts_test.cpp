// What a card and processors reach at best, from what each takes alone; and joules.
#include "bench/hybrid_parts.hpp"

#include <doctest/doctest.h>

#include "bench/limit_lines.hpp"

using namespace dodeca;
using namespace dodeca::bench;
using runtime::BlockKind;
using runtime::BlockPlan;
using runtime::Place;
using runtime::Plan;
using runtime::WeightRole;

namespace {

// Attention of 60 bytes, a shared expert of 20 and routed ones of 400 a token.
Plan plan_with(Place block, Place experts) {
  Plan plan;
  for (const auto& [role, bytes] : {std::pair{WeightRole::kQ, 60.0},
                                    {WeightRole::kSharedUp, 15.0},
                                    {WeightRole::kSharedDown, 5.0},
                                    {WeightRole::kExpertUp, 400.0}}) {
    runtime::WeightPlan weight;
    weight.id = {role, 0};
    weight.bytes_per_token = bytes;
    plan.weights.push_back(weight);
  }
  BlockPlan attention, ffn;
  attention.kind = BlockKind::kMlaAttention;
  attention.place = block;
  attention.weights = {0};
  ffn.kind = BlockKind::kMoeFfn;
  ffn.place = block;
  ffn.experts_place = experts;
  ffn.weights = {1, 2, 3};
  plan.blocks = {attention, ffn};
  return plan;
}

}  // namespace

TEST_CASE("what a card reads beside the experts is the shared expert, where the routed ones are in memory") {
  const Plan hybrid = plan_with(Place::kDevice, Place::kCpu);
  CHECK(is_hybrid(hybrid));
  CHECK(beside_share(hybrid) == doctest::Approx(20.0 / 80));
  const Plan all = plan_with(Place::kDevice, Place::kDevice);
  CHECK_FALSE(is_hybrid(all));
  CHECK(beside_share(all) == 0);
  const Plan none = plan_with(Place::kCpu, Place::kCpu);
  CHECK_FALSE(is_hybrid(none));
  CHECK(beside_share(none) == 0);
}

TEST_CASE("both sides together take their times, less what runs side by side") {
  const HybridParts parts{.device_ns = 20e6, .experts_ns = 30e6, .beside_share = 0.25};
  CHECK(parts.beside_ns() == doctest::Approx(5e6));
  CHECK(parts.limit_ns() == doctest::Approx(45e6));
  const HybridParts few{.device_ns = 20e6, .experts_ns = 1e6, .beside_share = 0.25};
  CHECK(few.limit_ns() == doctest::Approx(20e6));  // the experts are hidden
}

TEST_CASE("the lines behind a table: a card and processors, joules") {
  Result result;
  result.test.n_gen = 10;
  result.samples_ns = {500'000'000};  // 50 ms a token
  CHECK(hybrid_lines({result}).empty());
  CHECK(energy_lines({result}).empty());
  result.parts = HybridParts{.device_ns = 20e6, .experts_ns = 30e6, .beside_share = 0.25};
  result.hot_percent = 12.5;
  CHECK(hybrid_lines({result}) ==
        "\ntg10: the card alone 20.00 ms a pass, the experts alone 30.00 ms, 5.00 ms of it side by side: 45.00 ms at "
        "best "
        "(22.22 t/s), 90.0 % of that rate reached\ntg10: 12.5 % of the chosen experts were on the card\n");
  result.test.n_parallel = 4;  // a pass has four tokens
  CHECK(hybrid_lines({result}).find("(88.89 t/s), 90.0 %") != std::string::npos);
  result.joules_per_token = 12.5;
  CHECK(energy_lines({result}) == "\ntg10 x4: 12.5 J per token (1000 W)\n");
  result.joules_per_token = 0;
  result.no_joules = "nothing counts here";
  CHECK(energy_lines({result}) == "\nenergy: n/a: nothing counts here\n");
}
