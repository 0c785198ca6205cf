#include "runtime/model/shapes.hpp"

#include <algorithm>

namespace dodeca::runtime {
namespace {

// What all models of this class share: the DeepSeek-V3 configuration file.
ModelConfig common_shape() {
  ModelConfig c;
  c.architecture = "deepseek2";
  c.context_length = 163840;
  c.kv_lora_rank = 512;
  c.qk_nope_head_dim = 128;
  c.qk_rope_head_dim = 64;
  c.v_head_dim = 128;
  c.rope.dim = 64;
  c.rope.yarn = true;
  c.rope.factor = 40;
  c.rope.original_context = 4096;
  c.rope.mscale_all_dim = 1;
  return c;
}

ModelConfig deepseek_v3() {
  ModelConfig c = common_shape();
  c.name = "deepseek-v3";
  c.vocab_size = 129280;
  c.hidden_size = 7168;
  set_layers(c, 3, 58);
  c.n_mtp_layers = 1;
  c.n_heads = 128;
  c.q_lora_rank = 1536;
  c.intermediate_size = 18432;
  c.moe_intermediate_size = 2048;
  c.n_routed_experts = 256;
  c.n_experts_per_tok = 8;
  c.n_shared_experts = 1;
  c.n_group = 8;
  c.topk_group = 4;
  c.gating = GatingKind::kSigmoid;
  c.norm_topk_prob = true;
  c.routed_scaling_factor = 2.5;
  return c;
}

ModelConfig deepseek_v2_lite() {
  ModelConfig c = common_shape();
  c.name = "deepseek-v2-lite";
  c.vocab_size = 102400;
  c.hidden_size = 2048;
  set_layers(c, 1, 26);
  c.n_heads = 16;
  c.rope.mscale_all_dim = 0.707;
  c.intermediate_size = 10944;
  c.moe_intermediate_size = 1408;
  c.n_routed_experts = 64;
  c.n_experts_per_tok = 6;
  c.n_shared_experts = 2;
  c.group_score = GroupScoreKind::kMax;
  return c;
}

ModelConfig kimi_k2() {
  ModelConfig c = deepseek_v3();
  c.name = "kimi-k2";
  c.n_mtp_layers = 0;
  c.context_length = 131072;
  c.vocab_size = 163840;
  set_layers(c, 1, 60);
  c.n_heads = 64;
  c.n_routed_experts = 384;
  c.n_group = c.topk_group = 1;
  c.routed_scaling_factor = 2.827;
  c.rope.base = 50000;
  c.rope.factor = 32;
  c.rope.beta_fast = 1;
  return c;
}

ModelConfig deepseek_v3_2() {
  ModelConfig c = deepseek_v3();
  c.name = "deepseek-v3.2";
  c.architecture = "deepseek32";
  c.indexer = {.n_heads = 64, .head_dim = 128, .top_k = 2048, .pairing = RopePairing::kHalves};
  return c;
}

ModelConfig glm_5() {
  ModelConfig c = deepseek_v3();
  c.name = "glm-5";
  c.architecture = "glm-dsa";
  c.indexer = {.n_heads = 32, .head_dim = 128, .top_k = 2048};
  c.context_length = 202752;
  c.vocab_size = 154880;
  c.hidden_size = 6144;
  set_layers(c, 3, 75);
  c.rms_norm_eps = 1e-5;
  c.n_heads = 64;
  c.q_lora_rank = 2048;
  c.qk_nope_head_dim = 192;
  c.v_head_dim = 256;
  c.intermediate_size = 12288;
  c.n_group = c.topk_group = 1;
  c.rope = {.dim = 64};  // not stretched; its base changes no speed
  return c;
}

// Every fourth layer chooses positions, and the first ones.
ModelConfig glm_5_2() {
  ModelConfig c = glm_5();
  c.name = "glm-5.2";
  c.context_length = 1048576;
  for (std::int64_t layer = 3; layer < c.n_layers; ++layer) c.layers[layer].has_indexer = layer % 4 == 2;
  return c;
}

ModelConfig glm_4_7_flash() {
  ModelConfig c = glm_5();
  c.name = "glm-4.7-flash";
  c.architecture = "deepseek2";
  c.indexer = {};
  c.hidden_size = 2048;
  set_layers(c, 1, 46);
  c.n_heads = 20;
  c.q_lora_rank = 768;
  c.intermediate_size = 10240;
  c.moe_intermediate_size = 1536;
  c.n_routed_experts = 64;
  c.n_experts_per_tok = 4;
  c.routed_scaling_factor = 1.8;
  c.rope.base = 1e6;
  return c;
}

// Grouped queries whose halves of a head are rotated as pairs; softmax or sigmoid over all experts.
ModelConfig grouped_shape(std::string_view architecture) {
  ModelConfig c;
  c.architecture = architecture;
  c.head_dim = c.rope.dim = 128;
  c.rope.pairing = RopePairing::kHalves;
  c.rope.base = 1e6;
  c.n_experts_per_tok = 8;
  c.norm_topk_prob = true;
  return c;
}

ModelConfig qwen3_30b_a3b() {
  ModelConfig c = grouped_shape("qwen3moe");
  c.name = "qwen3-30b-a3b";
  c.context_length = 40960;
  c.vocab_size = 151936;
  c.hidden_size = 2048;
  set_layers(c, 0, 48);
  c.n_heads = 32;
  c.n_kv_heads = 4;
  c.qk_norm = QkNorm::kPerHead;
  c.moe_intermediate_size = 768;
  c.n_routed_experts = 128;
  return c;
}

ModelConfig qwen3_235b_a22b() {
  ModelConfig c = qwen3_30b_a3b();
  c.name = "qwen3-235b";
  c.hidden_size = 4096;
  set_layers(c, 0, 94);
  c.n_heads = 64;
  c.moe_intermediate_size = 1536;
  return c;
}

ModelConfig glm_4_5_air() {
  ModelConfig c = grouped_shape("glm4moe");
  c.name = "glm-4.5-air";
  c.context_length = 131072;
  c.vocab_size = 151552;
  c.hidden_size = 4096;
  set_layers(c, 1, 45);
  c.n_mtp_layers = 1;
  c.rms_norm_eps = 1e-5;
  c.n_heads = 96;
  c.n_kv_heads = 8;
  c.rope.dim = 64;
  c.attention_bias = true;
  c.intermediate_size = 10944;
  c.moe_intermediate_size = 1408;
  c.n_routed_experts = 128;
  c.n_shared_experts = 1;
  c.gating = GatingKind::kSigmoid;
  return c;
}

ModelConfig minimax_m2() {
  ModelConfig c = grouped_shape("minimax-m2");
  c.name = "minimax-m2";
  c.context_length = 196608;
  c.vocab_size = 200064;
  c.hidden_size = 3072;
  set_layers(c, 0, 62);
  c.n_heads = 48;
  c.n_kv_heads = 8;
  c.rope.dim = 64;
  c.rope.base = 5e6;
  c.qk_norm = QkNorm::kWhole;
  c.moe_intermediate_size = 1536;
  c.n_routed_experts = 256;
  c.gating = GatingKind::kSigmoid;
  return c;
}

ModelConfig llama_3_1_405b() {
  ModelConfig c = grouped_shape("llama");
  c.name = "llama-3.1-405b";
  c.context_length = 131072;
  c.vocab_size = 128256;
  c.hidden_size = 16384;
  set_layers(c, 126, 0);
  c.rms_norm_eps = 1e-5;
  c.n_heads = 128;
  c.n_kv_heads = 8;
  c.rope.base = 5e5;  // its factors change no speed
  c.rope.pairing = RopePairing::kInterleaved;
  c.intermediate_size = 53248;
  c.n_experts_per_tok = 0;
  return c;
}

ModelConfig gpt_oss_20b() {
  ModelConfig c = grouped_shape("gpt-oss");
  c.name = "gpt-oss-20b";
  c.context_length = 131072;
  c.vocab_size = 201088;
  c.hidden_size = 2880;
  c.head_dim = c.rope.dim = 64;
  c.layers = {{.window = 128}, {}};
  set_layers(c, 0, 24);
  c.rms_norm_eps = 1e-5;
  c.n_heads = 64;
  c.n_kv_heads = 8;
  c.attention_bias = c.output_bias = c.attention_sinks = true;
  c.rope.base = 150000;
  c.rope.yarn = true;
  c.rope.factor = 32;
  c.rope.original_context = 4096;
  c.rope.magnitude = 1.3465736;
  c.rope.whole_bounds = false;
  c.moe_intermediate_size = 2880;
  c.n_routed_experts = 32;
  c.n_experts_per_tok = 4;
  c.router_bias = c.expert_bias = true;
  c.gating = GatingKind::kSoftmaxSelected;
  c.activation = ActivationKind::kClampedSwiGlu;
  return c;
}

ModelConfig gpt_oss_120b() {
  ModelConfig c = gpt_oss_20b();
  c.name = "gpt-oss-120b";
  set_layers(c, 0, 36);
  c.n_routed_experts = 128;
  return c;
}

struct Shape {
  std::string_view name;
  ModelConfig (*make)();
};
constexpr Shape kShapes[] = {{"deepseek-v3", deepseek_v3},
                             {"deepseek-v3.2", deepseek_v3_2},
                             {"deepseek-v2-lite", deepseek_v2_lite},
                             {"kimi-k2", kimi_k2},
                             {"glm-5", glm_5},
                             {"glm-5.2", glm_5_2},
                             {"glm-4.7-flash", glm_4_7_flash},
                             {"qwen3-30b-a3b", qwen3_30b_a3b},
                             {"qwen3-235b", qwen3_235b_a22b},
                             {"glm-4.5-air", glm_4_5_air},
                             {"minimax-m2", minimax_m2},
                             {"llama-3.1-405b", llama_3_1_405b},
                             {"gpt-oss-20b", gpt_oss_20b},
                             {"gpt-oss-120b", gpt_oss_120b}};

}  // namespace

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

ModelConfig published_shape(std::string_view name) {
  const auto* shape =
      std::find_if(std::begin(kShapes), std::end(kShapes), [&](const Shape& s) { return s.name == name; });
  if (shape == std::end(kShapes)) throw Error(ErrorKind::kBadRequest, fmt::format("no model is called '{}'", name));
  return shape->make();
}

quant::DType published_type(const ModelConfig& config, WeightRole role) {
  return config.architecture == "gpt-oss" && is_routed(role) ? quant::DType::kMXFP4 : quant::DType::kBF16;
}

void set_layers(ModelConfig& config, std::int64_t n_dense, std::int64_t n_moe) {
  const std::vector<LayerConfig> before = config.layers;
  config.n_layers = n_dense + n_moe;
  const AttentionKind attention = config.head_dim > 0 ? AttentionKind::kGqa : AttentionKind::kMla;
  config.layers.assign(static_cast<std::size_t>(config.n_layers), {attention, FfnKind::kMoe});
  std::fill_n(config.layers.begin(), n_dense, LayerConfig{attention, FfnKind::kDense});
  for (std::size_t layer = 0; before.size() > 1 && layer < config.layers.size(); ++layer)
    config.layers[layer].window = before[layer % 2].window;
}

}  // namespace dodeca::runtime
