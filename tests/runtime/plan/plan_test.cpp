// A plan is a pure function of configuration, weights, machine and options, and says everything that is done after it.
#include "runtime/plan/plan.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "runtime/model/random_source.hpp"
#include "runtime/model/shapes.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using quant::DType;

DType some_type(const WantedWeight& w) {
  if (w.id.role == WeightRole::kRouter) return DType::kF32;
  return w.n_in % 256 == 0 ? (is_routed(w.id.role) ? DType::kQ2_K : DType::kQ4_K) : DType::kQ8_0;
}

Plan plan_of(const ModelConfig& c, const PlanOptions& options = {}) {
  return make_plan(c, random_weight_infos(c, some_type), {},
                   machine_of(cpu::synthetic_topology("package:1 numa:2 l3:1 core:4 pu:1"), 1 << 30), options);
}

}  // namespace

TEST_CASE("every weight belongs to one block, in the order in which blocks run") {
  for (const char* shape : {"deepseek-v3", "deepseek-v2-lite", "kimi-k2", "glm-5"}) {
    const ModelConfig c = published_shape(shape);
    const Plan plan = plan_of(c);
    REQUIRE(plan.blocks.size() == static_cast<std::size_t>(2 * c.n_layers + 2));
    CHECK(plan.blocks.front().kind == BlockKind::kEmbedding);
    CHECK(plan.blocks[1].name() == "layer 0 attention");
    CHECK(plan.blocks[2].kind == BlockKind::kDenseFfn);
    CHECK(plan.blocks.back().kind == BlockKind::kHead);
    std::multiset<std::size_t> met;
    std::uint64_t bytes = 0;
    double per_token = 0;
    for (const BlockPlan& block : plan.blocks) {
      met.insert(block.weights.begin(), block.weights.end());
      bytes += block.bytes;
      per_token += block.bytes_per_token;
      CHECK_FALSE(block.reason.empty());
      for (const InputPlan& input : block.inputs) CHECK(input.n_in > 0);
    }
    CHECK(met.size() == plan.weights.size());
    CHECK(std::set<std::size_t>(met.begin(), met.end()).size() == plan.weights.size());
    CHECK(bytes == plan.bytes);
    CHECK(per_token == doctest::Approx(plan.bytes_per_token));
  }
}

TEST_CASE("parts cover every row, column and slice once, in whole blocks") {
  for (const char* shape : {"deepseek-v3", "deepseek-v2-lite"}) {
    const ModelConfig c = published_shape(shape);
    for (const Shares& shares : {equal_shares(1), equal_shares(2), equal_shares(3), equal_shares(8), {1.0, 2.5}}) {
      const Plan plan = plan_of(c, {.shares = shares});
      for (const WeightPlan& w : plan.weights) {
        if (w.layout == nullptr) continue;
        REQUIRE(w.parts.size() == shares.size());
        std::int64_t elements = 0;
        for (const WeightPart& part : w.parts) {
          elements += part.rows.size() * part.columns.size() * static_cast<std::int64_t>(part.slices.size());
          CHECK((part.rows.begin % cpu::kTileRows == 0 || part.rows.begin == w.n_out));
          CHECK(quant::row_bytes(w.dtype, part.columns.begin).has_value());
          CHECK(quant::row_bytes(w.dtype, part.columns.size()).has_value());
        }
        CHECK(elements == w.n_in * w.n_out * w.n_slices);
      }
    }
  }
}

TEST_CASE("kernels that do not run here are kept with the reason; those that do are the best of their set") {
  const ModelConfig c = published_shape("deepseek-v2-lite");
  const Plan scalar = plan_of(c, {.isa = cpu::Isa::kScalar});
  for (const WeightPlan& w : scalar.weights) {
    if (w.gemv != nullptr) CHECK(w.gemv->name.ends_with("_scalar"));
  }
  if (cpu::detected_isa() == cpu::Isa::kScalar) return;
  const std::vector<std::string> refusals = refusals_of(scalar);
  CHECK(std::ranges::find(refusals, "gemv_q4_k_avx2 needs avx2, have scalar") != refusals.end());
}

TEST_CASE("a tied matrix is looked up by the embedding and read by the head") {
  ModelConfig c = published_shape("deepseek-v2-lite");
  c.tied_embeddings = true;
  const Plan plan = plan_of(c);
  const BlockPlan &first = plan.blocks.front(), &last = plan.blocks.back();
  CHECK(first.bytes > 0);
  CHECK(first.bytes_per_token < 1e4);
  CHECK(last.bytes_per_token > static_cast<double>(first.bytes));
  CHECK(last.bytes < first.bytes);  // the norm alone
}

TEST_CASE("multi-token prediction is refused where its weights were left out") {
  ModelConfig c = published_shape("deepseek-v2-lite");
  c.n_mtp_layers = 1;
  CHECK_THROWS_WITH_AS(plan_of(c, {.mtp = true}), doctest::Contains("left out"), Error);
}

TEST_CASE("a machine is its topology") {
  const Machine machine = machine_of(cpu::synthetic_topology("package:1 numa:2 l3:2 core:4 pu:1"), 123);
  CHECK(machine.nodes.size() == 2);
  CHECK(machine.nodes[1].n_cores == 8);
  CHECK(machine.n_cores == 16);
  CHECK(machine.n_l3 == 4);
  CHECK(machine.available_bytes == 123);
}
