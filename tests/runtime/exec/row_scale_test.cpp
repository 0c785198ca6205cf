// Weights whose rows begin with a scale: cut by columns, every part takes the scale along.
#include <doctest/doctest.h>

#include "runtime/model/random_source.hpp"
#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/support/compare.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime::exec;

TEST_CASE("feed-forward blocks of a type with a row scale, cut in parts, add up to the whole") {
  runtime::ModelConfig config = small_mla_config(1, 1);
  config.hidden_size = 256;
  config.intermediate_size = config.moe_intermediate_size = 768;
  cpu::Team team(2);
  const std::vector<int> ids = some_ids(12, 64);
  const auto check = [&](quant::DType dtype, bool compute_f32) {
    CAPTURE(quant::name_of(dtype));
    const auto type_of = [&](const runtime::WantedWeight& w) { return w.n_in % 256 == 0 ? dtype : quant::DType::kF16; };
    const auto source = runtime::random_weights(config, type_of, 1);
    REQUIRE(source->find("blk.1.ffn_down_exps.weight")->dtype == dtype);
    const auto logits = [&](int n_parts, std::uint64_t& contents) {
      const auto model =
          load_model(*source, team, {.compute_f32 = compute_f32, .shares = runtime::equal_shares(n_parts)});
      contents = model->contents();
      Executor executor(*model, team, {.n_positions = 64, .cache_type = quant::DType::kF32});
      return logits_of(executor, ids);
    };
    std::uint64_t whole_contents = 0, contents = 0;
    const std::vector<float> whole = logits(1, whole_contents);
    for (const int n_parts : {2, 3}) {
      const Comparison result = compare(logits(n_parts, contents), whole, {.abs = compute_f32 ? 1e-4 : 2e-2});
      CHECK_MESSAGE(result.ok, n_parts, " parts, compute f32 ", compute_f32, ": ", result.report);
      CHECK(contents == whole_contents);  // every byte of the weights was read once
    }
  };
  for (const bool compute_f32 : {true, false}) {
    check(quant::DType::kIQ4_KS, compute_f32);  // an f32 before the blocks
    check(quant::DType::kIQ2_KL, compute_f32);  // an f16
  }
}

}  // namespace
