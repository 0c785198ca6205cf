// A model with latent attention of sizes that run in milliseconds.
#pragma once

#include <cstdint>

#include "runtime/model/config.hpp"

namespace dodeca::tests {

// Dense layers, then layers with experts.
inline runtime::ModelConfig small_mla_config(std::size_t n_dense = 2, std::size_t n_moe = 0) {
  runtime::ModelConfig c;
  c.architecture = "test";
  c.vocab_size = 64;
  c.hidden_size = 128;
  c.n_layers = static_cast<std::int64_t>(n_dense + n_moe);
  c.context_length = 256;
  c.layers.assign(n_dense, {runtime::AttentionKind::kMla, runtime::FfnKind::kDense});
  c.layers.resize(n_dense + n_moe, {runtime::AttentionKind::kMla, runtime::FfnKind::kMoe});
  c.n_heads = 4;
  c.q_lora_rank = 64;
  c.kv_lora_rank = 64;
  c.qk_nope_head_dim = 32;
  c.qk_rope_head_dim = 16;
  c.v_head_dim = 32;
  c.rope.dim = 16;
  c.intermediate_size = 256;
  if (n_moe > 0) {
    c.moe_intermediate_size = 64;
    c.n_routed_experts = 8;
    c.n_experts_per_tok = 2;
  }
  return c;
}

}  // namespace dodeca::tests
