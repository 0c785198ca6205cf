#include "runtime/model/contents.hpp"

#include <doctest/doctest.h>

#include "tests/support/demo_model.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/small_config.hpp"

using namespace dodeca;
using namespace dodeca::tests;

TEST_CASE("the sum of a loaded model is that of its weights, whatever the threads and parts") {
  runtime::ModelConfig config = small_mla_config(1, 2);
  config.n_shared_experts = 1;
  MemorySource source(config, 3);
  cpu::Team one(1), three(3);
  const std::uint64_t sum = runtime::sum_of(source, one).value();
  CHECK(runtime::sum_of(source, three).value() == sum);
  for (const int n_parts : {1, 2, 3})
    CHECK(load_model(source, three, {.shares = runtime::equal_shares(n_parts)})->contents() == sum);
  CHECK(load_model(source, one, {.compute_f32 = true})->contents() == sum);
  source.values("blk.1.ffn_norm.weight")[5] *= 0.5f;
  CHECK(runtime::sum_of(source, one).value() != sum);
}

TEST_CASE("FP8 checkpoints, whose blocks and halves are put together while they are read, have one sum too") {
  const LoadedDemo demo({}, 3);
  cpu::Team team(2);
  CHECK(runtime::sum_of(*demo.source, team).value() == demo.model->contents());
}
