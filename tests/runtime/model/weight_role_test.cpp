// Roles and names are one table, read in both directions.
#include "runtime/model/weight_role.hpp"

#include <doctest/doctest.h>

#include "runtime/model/wanted.hpp"
#include "tests/support/small_config.hpp"

using namespace dodeca;
using namespace dodeca::runtime;

TEST_CASE("every role is found again by its name, and no other name has one") {
  for (const RoleInfo& info : all_roles()) {
    const WeightId id{info.role, info.in_layer ? 12 : kNoLayer};
    CHECK(weight_of_name(gguf_name(id)) == id);
  }
  CHECK(gguf_name({WeightRole::kExpertDown, 3}) == "blk.3.ffn_down_exps.weight");
  CHECK(gguf_name({WeightRole::kEmbedding}) == "token_embd.weight");
  for (const char* name : {"", "blk.3.", "blk.x.attn_q.weight", "attn_q.weight", "blk.1.token_embd.weight",
                           "blk.1.attn_q.weight.x", "model.layers.1.mlp.gate.weight"})
    CHECK_FALSE(weight_of_name(name).has_value());
}

TEST_CASE("what a configuration wants has roles that its layers may have") {
  ModelConfig c = tests::small_mla_config(1, 2);
  c.n_shared_experts = 1;
  c.n_mtp_layers = 1;
  for (const bool mtp : {false, true}) {
    for (const WantedWeight& wanted : wanted_weights(c, mtp)) {
      CHECK(weight_of_name(wanted.name) == wanted.id);
      CHECK(wanted.vector == role_info(wanted.id.role).vector);
      if (is_routed(wanted.id.role)) CHECK(wanted.slicing == Slicing::kExperts);
      if (mtp) CHECK(wanted.id.layer == c.n_layers);
    }
  }
}
