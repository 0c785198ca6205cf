// A model with grouped queries of sizes that run in milliseconds, with every optional part.
#pragma once

#include "runtime/model/config.hpp"

namespace dodeca::tests {

inline runtime::ModelConfig small_gqa_config(runtime::QkNorm norm) {
  runtime::ModelConfig c;
  c.architecture = "test";
  c.vocab_size = 64;
  c.hidden_size = 128;
  c.n_layers = 2;
  c.context_length = 256;
  c.layers = {{runtime::AttentionKind::kGqa, runtime::FfnKind::kDense, 20},
              {runtime::AttentionKind::kGqa, runtime::FfnKind::kMoe}};
  c.n_heads = 12;
  c.n_kv_heads = 6;
  c.head_dim = 32;
  c.rope.dim = 16;
  c.rope.pairing = runtime::RopePairing::kHalves;
  c.qk_norm = norm;
  c.attention_bias = c.output_bias = c.attention_sinks = true;
  c.intermediate_size = 256;
  c.moe_intermediate_size = 64;
  c.n_routed_experts = 8;
  c.n_experts_per_tok = 2;
  c.router_bias = c.expert_bias = true;
  c.activation = runtime::ActivationKind::kClampedSwiGlu;
  return c;
}

}  // namespace dodeca::tests
