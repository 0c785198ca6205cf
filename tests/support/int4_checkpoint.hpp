// A small model in the layout of Kimi-K2-Thinking (packed experts), or of Kimi-K2.5 (the same behind "language_model.",
// with tensors for images beside it). Values are random and the same for the same seed.
#pragma once

#include <random>

#include "quant/float_types.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/wanted.hpp"
#include "tests/support/tiny_checkpoint.hpp"

namespace dodeca::tests {

inline nlohmann::json int4_config(bool wrapped) {
  nlohmann::json text = nlohmann::json::parse(R"({"model_type":"kimi_k2","vocab_size":64,"hidden_size":64,
    "intermediate_size":96,"moe_intermediate_size":32,"num_hidden_layers":2,"num_attention_heads":2,
    "n_shared_experts":1,"n_routed_experts":3,"routed_scaling_factor":2.5,"kv_lora_rank":32,"q_lora_rank":32,
    "qk_rope_head_dim":16,"v_head_dim":32,"qk_nope_head_dim":32,"topk_method":"noaux_tc","n_group":1,"topk_group":1,
    "num_experts_per_tok":2,"first_k_dense_replace":1,"norm_topk_prob":true,"scoring_func":"sigmoid",
    "rope_theta":50000,"tie_word_embeddings":false,"attention_bias":false,
    "quantization_config":{"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":{
    "targets":["Linear"],"weights":{"num_bits":4,"type":"int","symmetric":true,"strategy":"group","group_size":32}}}}})");
  if (!wrapped) return text;
  return {{"model_type", "kimi_k25"}, {"architectures", {"KimiK25ForConditionalGeneration"}}, {"text_config", text}};
}

template <class T>
std::string random_bytes(std::mt19937& random, std::int64_t n, T (*make)(std::mt19937&)) {
  std::string bytes;
  for (std::int64_t i = 0; i < n; ++i) bytes += le(make(random));
  return bytes;
}
inline std::uint16_t random_bf16(std::mt19937& random) {
  return quant::f32_to_bf16(std::normal_distribution<float>(0.0f, 0.1f)(random));
}
// From 2^-17 to 2^-2.
inline std::uint16_t random_scale(std::mt19937& random) {
  return static_cast<std::uint16_t>(0x3700 + random() % 0x780);
}
inline std::uint32_t random_word(std::mt19937& random) { return static_cast<std::uint32_t>(random()); }

inline TinyCheckpoint int4_checkpoint(bool wrapped, unsigned seed = 1) {
  std::mt19937 random(seed);
  TinyCheckpoint out;
  const std::string prefix = wrapped ? "language_model." : "";
  const runtime::ModelConfig config = runtime::config_from_hf(int4_config(wrapped));
  const auto plain = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    std::int64_t n = 1;
    for (const std::int64_t dim : shape) n *= dim;
    out.add(prefix + name, "BF16", shape, random_bytes(random, n, random_bf16));
  };
  for (const runtime::WantedWeight& w : runtime::wanted_weights(config, false)) {
    if (w.slicing == runtime::Slicing::kExperts) {
      for (std::int64_t e = 0; e < w.n_slices; ++e) {
        const std::string name = prefix + fmt::format(fmt::runtime(w.hf_name), e);
        out.add(name + "_packed", "I32", {w.n_out, w.n_in / 8},
                random_bytes(random, w.n_out * w.n_in / 8, random_word));
        out.add(name + "_scale", "BF16", {w.n_out, w.n_in / 32},
                random_bytes(random, w.n_out * w.n_in / 32, random_scale));
        out.add(name + "_shape", "I32", {2},
                le(static_cast<std::int32_t>(w.n_out)) + le(static_cast<std::int32_t>(w.n_in)));
      }
    } else if (w.slicing == runtime::Slicing::kHeads) {
      if (w.id.role == runtime::WeightRole::kKB)
        plain(fmt::format("model.layers.{}.self_attn.kv_b_proj.weight", w.id.layer),
              {config.n_heads * (config.qk_nope_head_dim + config.v_head_dim), config.kv_lora_rank});
    } else {
      plain(w.hf_name, w.vector ? std::vector{w.n_in} : std::vector{w.n_out, w.n_in});
    }
  }
  if (wrapped) {
    for (const char* name : {"vision_tower.patch_embed.proj.weight", "mm_projector.proj.0.weight"})
      out.add(name, "BF16", {2, 2}, random_bytes(random, 4, random_bf16));
  }
  return out;
}

}  // namespace dodeca::tests
