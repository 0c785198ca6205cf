#include "runtime/model/weight_name.hpp"

#include <doctest/doctest.h>

using namespace dodeca::runtime;

TEST_CASE("weight names: layers of both namings, -1 for what is no number") {
  CHECK(layer_of("blk.12.attn_q.weight") == 12);
  CHECK(layer_of("blk.0.ffn_norm.weight") == 0);
  CHECK(layer_of("model.layers.3.mlp.experts.7.up_proj.weight", "layers.") == 3);
  for (const char* name : {"token_embd.weight", "output.weight", "blk.", "blk.x.attn_q.weight", "blk.-3.attn_q.weight",
                           "blk.99999999999999999999.attn_q.weight", ""}) {
    CAPTURE(name);
    CHECK(layer_of(name) == -1);
  }
}

TEST_CASE("weight names: kinds") {
  CHECK(kind_of("blk.12.ffn_down_exps.weight") == "ffn_down_exps");
  CHECK(kind_of("blk.6.nextn.eh_proj.weight") == "nextn.eh_proj");
  CHECK(kind_of("blk.3.exp_probs_b.bias") == "exp_probs_b.bias");
  CHECK(kind_of("token_embd.weight") == "token_embd");
  CHECK(kind_of("blk.x.attn_q.weight") == "blk.x.attn_q");
  CHECK(kind_of("blk.3") == "blk.3");
}
