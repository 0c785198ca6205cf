#include <nlohmann/json.hpp>

#include "runtime/model/config.hpp"
#include "runtime/model/wanted.hpp"
#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_config_json(std::string_view bytes) {
  const runtime::ModelConfig config = runtime::config_from_hf(runtime::parse_json(bytes, "config.json"));
  require(static_cast<std::int64_t>(config.layers.size()) == config.n_layers, "layers");
  require(config.inv_freq().size() * 2 == static_cast<std::size_t>(config.rope.dim), "rope dimensions");
  config.softmax_scale(runtime::AttentionKind::kMla);
  runtime::wanted_weights(config, false);
  runtime::wanted_weights(config, true);
}

std::vector<std::string> fuzz_config_json_seeds() {
  return {
      R"({"model_type":"deepseek_v3","vocab_size":4096,"hidden_size":256,"intermediate_size":1024,
"moe_intermediate_size":256,"num_hidden_layers":6,"num_nextn_predict_layers":1,"num_attention_heads":8,
"n_shared_experts":1,"n_routed_experts":16,"routed_scaling_factor":2.5,"kv_lora_rank":256,
"q_lora_rank":256,"qk_rope_head_dim":32,"v_head_dim":32,"qk_nope_head_dim":32,"topk_method":"noaux_tc",
"n_group":4,"topk_group":2,"num_experts_per_tok":4,"moe_layer_freq":1,"first_k_dense_replace":1,
"norm_topk_prob":true,"scoring_func":"sigmoid","hidden_act":"silu","max_position_embeddings":512,
"rms_norm_eps":1e-06,"tie_word_embeddings":false,"rope_theta":10000.0,"rope_scaling":{"type":"yarn",
"factor":4.0,"original_max_position_embeddings":128,"beta_fast":32,"beta_slow":1,"mscale":1.0,
"mscale_all_dim":1.0},"attention_bias":false,"quantization_config":{"quant_method":"fp8","fmt":"e4m3",
"weight_block_size":[128,128]}})",
      R"({"model_type":"deepseek_v2","vocab_size":64,"hidden_size":32,"intermediate_size":64,
"moe_intermediate_size":32,"num_hidden_layers":2,"num_attention_heads":2,"n_shared_experts":2,
"n_routed_experts":4,"kv_lora_rank":32,"q_lora_rank":null,"qk_rope_head_dim":8,"v_head_dim":16,
"qk_nope_head_dim":16,"topk_method":"group_limited_greedy","n_group":2,"topk_group":1,
"num_experts_per_tok":2,"first_k_dense_replace":1,"norm_topk_prob":false,"scoring_func":"softmax",
"rope_parameters":{"rope_type":"linear","factor":2,"rope_theta":1e4}})",
      R"({"model_type":"glm_moe_dsa","vocab_size":64,"hidden_size":64,"intermediate_size":64,"num_hidden_layers":4,
"num_attention_heads":2,"kv_lora_rank":32,"q_lora_rank":32,"qk_rope_head_dim":8,"v_head_dim":16,
"qk_nope_head_dim":16,"mlp_layer_types":["dense","dense","dense","dense"],"index_n_heads":4,
"index_head_dim":16,"index_topk":8,"index_topk_freq":4,"index_skip_topk_offset":3,
"indexer_rope_interleave":true,"indexer_types":["full","shared","full","shared"]})",
      R"({"model_type":"kimi_k25","architectures":["KimiK25ForConditionalGeneration"],"text_config":{
"model_type":"kimi_k2","vocab_size":64,"hidden_size":64,"intermediate_size":64,"num_hidden_layers":2,
"num_attention_heads":2,"kv_lora_rank":32,"qk_rope_head_dim":8,"v_head_dim":16,"qk_nope_head_dim":16,
"mlp_layer_types":["dense","dense"],"quantization_config":{"quant_method":"compressed-tensors",
"format":"pack-quantized","config_groups":{"group_0":{"input_activations":null,"weights":{
"num_bits":4,"type":"int","symmetric":true,"strategy":"group","group_size":32}}}}}})",
      R"({"model_type":"gpt_oss","vocab_size":64,"hidden_size":64,"intermediate_size":32,"num_hidden_layers":2,
"num_attention_heads":4,"num_key_value_heads":2,"head_dim":32,"num_local_experts":4,
"num_experts_per_tok":2,"sliding_window":8,"layer_types":["sliding_attention","full_attention"],
"swiglu_limit":7.0,"quantization_config":{"quant_method":"mxfp4"},"rope_scaling":{"rope_type":"yarn",
"factor":32.0,"original_max_position_embeddings":64,"beta_fast":32.0,"beta_slow":1.0,"truncate":false}})",
      R"({"model_type":"llama","vocab_size":64,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,
"num_attention_heads":4,"num_key_value_heads":2,"mlp_bias":false,"rope_scaling":{"rope_type":"llama3",
"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":64}})",
      R"({"model_type":"minimax_m2","vocab_size":64,"hidden_size":64,"intermediate_size":32,"num_hidden_layers":2,
"num_attention_heads":4,"num_key_value_heads":2,"head_dim":32,"num_local_experts":4,"num_experts_per_tok":2,
"rotary_dim":16,"scoring_func":"sigmoid","use_qk_norm":true})",
      R"({"model_type":"mixtral","vocab_size":64,"hidden_size":64,"intermediate_size":32,"num_hidden_layers":2,
"num_attention_heads":4,"num_key_value_heads":2,"num_local_experts":4,"num_experts_per_tok":2,"sliding_window":8})",
      R"({"model_type":"qwen3_moe","vocab_size":64,"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,
"num_key_value_heads":2,"head_dim":32,"num_experts":4,"num_experts_per_tok":2,"moe_intermediate_size":32,
"intermediate_size":64,"mlp_only_layers":[1],"decoder_sparse_step":1,"norm_topk_prob":true})",
      R"({"model_type":"glm4_moe","vocab_size":64,"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,
"num_key_value_heads":2,"head_dim":32,"n_routed_experts":4,"num_experts_per_tok":2,"n_shared_experts":1,
"moe_intermediate_size":32,"intermediate_size":64,"num_nextn_predict_layers":1,"use_qk_norm":true,
"partial_rotary_factor":0.5,"attention_bias":true,"first_k_dense_replace":1,"n_group":1,"topk_group":1})"};
}

}  // namespace dodeca::tests
