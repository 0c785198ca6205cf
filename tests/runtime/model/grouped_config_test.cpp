// Models with grouped queries, from keys and configurations as they are published.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/model/config.hpp"
#include "runtime/model/gguf_names.hpp"
#include "runtime/model/wanted.hpp"

namespace {

using namespace dodeca::runtime;

const Log kQuiet = [](Level, std::string_view) {};

class GgufModel {
 public:
  explicit GgufModel(const std::string& architecture) : prefix_(architecture + ".") {
    metadata.set("general.architecture", architecture);
    real("attention.layer_norm_rms_epsilon", 1e-5);
  }
  GgufModel& key(const std::string& name, std::uint32_t value) {
    metadata.set(prefix_ + name, value);
    return *this;
  }
  GgufModel& real(const std::string& name, double value) {
    metadata.set(prefix_ + name, static_cast<float>(value));
    return *this;
  }
  GgufModel& text(const std::string& name, const std::string& value) {
    metadata.set(prefix_ + name, value);
    return *this;
  }
  GgufModel& tensor(const std::string& name, std::vector<std::int64_t> dims) {
    tensors.push_back({name, dodeca::quant::DType::kF32, std::move(dims)});
    return *this;
  }
  ModelConfig read() const { return config_from_gguf(metadata, tensors, {}, kQuiet); }

  Metadata metadata;
  std::vector<GgufTensor> tensors;

 private:
  std::string prefix_;
};

GgufModel sized(const std::string& architecture, std::uint32_t layers, std::uint32_t hidden, std::uint32_t heads,
                std::uint32_t kv_heads) {
  GgufModel model(architecture);
  model.key("block_count", layers).key("context_length", 131072).key("embedding_length", hidden);
  model.key("attention.head_count", heads).key("attention.head_count_kv", kv_heads);
  model.tensor("token_embd.weight", {hidden, 1000}).tensor("output.weight", {hidden, 1000});
  return model;
}

TEST_CASE("Qwen3-235B-A22B from GGUF") {
  GgufModel m = sized("qwen3moe", 94, 4096, 64, 4);
  m.key("attention.key_length", 128).key("attention.value_length", 128).key("expert_count", 128);
  m.key("expert_used_count", 8).key("expert_feed_forward_length", 1536).key("feed_forward_length", 12288);
  m.real("rope.freq_base", 1e6).tensor("blk.0.attn_q_norm.weight", {128});
  const ModelConfig c = m.read();
  CHECK(c.n_layers == 94);
  CHECK(c.head_dim == 128);
  CHECK(c.rope.dim == 128);
  CHECK(c.rope.pairing == RopePairing::kHalves);
  CHECK(c.qk_norm == QkNorm::kPerHead);
  CHECK(c.gating == GatingKind::kSoftmax);
  CHECK(c.norm_topk_prob);
  CHECK(c.moe_intermediate_size == 1536);
  CHECK(c.layer(0).attention == AttentionKind::kGqa);
  CHECK(c.layer(0).ffn == FfnKind::kMoe);
  CHECK(c.softmax_scale(AttentionKind::kGqa) == doctest::Approx(1 / std::sqrt(128.0)));
}

TEST_CASE("GLM-4.5-Air from GGUF: the last block drafts, half of a head is turned") {
  GgufModel m = sized("glm4moe", 47, 4096, 96, 8);
  m.key("attention.key_length", 128).key("attention.value_length", 128).key("rope.dimension_count", 64);
  m.key("nextn_predict_layers", 1).key("leading_dense_block_count", 1).key("feed_forward_length", 10944);
  m.key("expert_count", 128).key("expert_used_count", 8).key("expert_shared_count", 1);
  m.key("expert_feed_forward_length", 1408).real("expert_weights_scale", 1.0).real("rope.freq_base", 1e6);
  m.metadata.set("glm4moe.expert_weights_norm", true);
  m.tensor("blk.0.attn_q.bias", {12288}).tensor("blk.46.nextn.eh_proj.weight", {8192, 4096});
  const ModelConfig c = m.read();
  CHECK(c.n_layers == 46);
  CHECK(c.n_mtp_layers == 1);
  CHECK(c.layers[0].ffn == FfnKind::kDense);
  CHECK(c.layers[1].ffn == FfnKind::kMoe);
  CHECK(c.rope.dim == 64);
  CHECK(c.attention_bias);
  CHECK_FALSE(c.output_bias);
  CHECK(c.qk_norm == QkNorm::kNone);
  CHECK(c.gating == GatingKind::kSigmoid);  // no key says so
  CHECK(name_in_file(c.architecture, {WeightRole::kFfnNorm, 3}) == "blk.3.post_attention_norm.weight");
}

TEST_CASE("MiniMax-M2 from GGUF: norms of whole vectors, sigmoid by key or by the bias of the choice") {
  GgufModel m = sized("minimax-m2", 62, 3072, 48, 8);
  m.key("attention.key_length", 128).key("attention.value_length", 128).key("rope.dimension_count", 64);
  m.key("expert_count", 256).key("expert_used_count", 8).key("expert_feed_forward_length", 1536);
  m.real("rope.freq_base", 5e6).tensor("blk.0.attn_q_norm.weight", {6144}).tensor("blk.0.exp_probs_b.bias", {256});
  const ModelConfig c = m.read();
  CHECK(c.qk_norm == QkNorm::kWhole);
  CHECK(c.gating == GatingKind::kSigmoid);
  CHECK(c.norm_topk_prob);
  CHECK(c.n_shared_experts == 0);
  CHECK(c.rope.dim == 64);
}

GgufModel gpt_oss() {
  GgufModel m = sized("gpt-oss", 24, 2880, 64, 8);
  m.key("attention.key_length", 64).key("attention.value_length", 64).key("attention.sliding_window", 128);
  m.key("expert_count", 32).key("expert_used_count", 4).key("expert_feed_forward_length", 2880);
  m.real("rope.freq_base", 150000).text("rope.scaling.type", "yarn").real("rope.scaling.factor", 32);
  m.key("rope.scaling.original_context_length", 4096).tensor("blk.0.attn_q.bias", {4096});
  m.tensor("blk.0.attn_output.bias", {2880}).tensor("blk.0.ffn_gate_inp.bias", {32});
  m.tensor("blk.0.ffn_down_exps.bias", {2880, 32});
  return m;
}

TEST_CASE("gpt-oss from GGUF: windows by turns, sinks, biases everywhere, YaRN with its factor") {
  const ModelConfig c = gpt_oss().read();
  CHECK(c.layers[0].window == 128);
  CHECK(c.layers[1].window == 0);
  CHECK(c.attention_sinks);
  CHECK(c.attention_bias);
  CHECK(c.output_bias);
  CHECK(c.router_bias);
  CHECK(c.expert_bias);
  CHECK(c.activation == ActivationKind::kClampedSwiGlu);
  CHECK(c.gating == GatingKind::kSoftmaxSelected);
  CHECK(c.rope.magnitude == doctest::Approx(1.3465736));
  CHECK_FALSE(c.rope.whole_bounds);
  CHECK(c.n_heads * c.head_dim == 4096);
}

TEST_CASE("a pattern of windows is a period or a flag for every layer") {
  GgufModel m = gpt_oss();
  m.key("attention.sliding_window_pattern", 3);
  CHECK(m.read().layers[1].window == 128);
  CHECK(m.read().layers[2].window == 0);
  MetaArray<bool> flags;
  for (int i = 0; i < 24; ++i) flags.values.push_back(i == 5);
  m.metadata.set("gpt-oss.attention.sliding_window_pattern", flags);
  CHECK(m.read().layers[4].window == 0);
  CHECK(m.read().layers[5].window == 128);
  flags.values.resize(3);
  m.metadata.set("gpt-oss.attention.sliding_window_pattern", flags);
  CHECK_THROWS_WITH_AS(m.read(), doctest::Contains("is about 3 layers, and there are 24"), Error);
}

TEST_CASE("Llama and Mixtral from GGUF") {
  GgufModel dense = sized("llama", 126, 16384, 128, 8);
  dense.key("feed_forward_length", 53248).real("rope.freq_base", 500000).key("rope.dimension_count", 128);
  const ModelConfig llama = dense.read();
  CHECK(llama.head_dim == 128);
  CHECK(llama.rope.pairing == RopePairing::kInterleaved);
  CHECK(llama.n_routed_experts == 0);
  CHECK(llama.layers[0].ffn == FfnKind::kDense);
  GgufModel routed = sized("llama", 32, 4096, 32, 8);
  routed.key("feed_forward_length", 14336).key("expert_count", 8).key("expert_used_count", 2);
  const ModelConfig mixtral = routed.read();
  CHECK(mixtral.moe_intermediate_size == 14336);
  CHECK(mixtral.norm_topk_prob);
  routed.key("attention.sliding_window", 4096);
  CHECK_THROWS_WITH_AS(routed.read(), doctest::Contains("llama.attention.sliding_window"), Error);
}

TEST_CASE("keys and values of different widths are refused") {
  GgufModel m = sized("qwen3moe", 2, 64, 4, 2);
  m.key("attention.key_length", 128).key("attention.value_length", 64);
  CHECK_THROWS_WITH_AS(m.read(), doctest::Contains("different ones are not supported"), Error);
}

Json oss_json() {
  return Json::parse(
      R"({"model_type":"gpt_oss","architectures":["GptOssForCausalLM"],"attention_bias":true,"head_dim":64,
    "hidden_act":"silu","hidden_size":2880,"intermediate_size":2880,"max_position_embeddings":131072,
    "num_attention_heads":64,"num_experts_per_tok":4,"num_hidden_layers":4,"num_key_value_heads":8,
    "num_local_experts":32,"quantization_config":{"quant_method":"mxfp4"},"rms_norm_eps":1e-05,"rope_theta":150000,
    "rope_scaling":{"beta_fast":32.0,"beta_slow":1.0,"factor":32.0,"original_max_position_embeddings":4096,
    "rope_type":"yarn","truncate":false},"sliding_window":128,"swiglu_limit":7.0,"tie_word_embeddings":false,
    "layer_types":["sliding_attention","full_attention","sliding_attention","full_attention"],"vocab_size":201088})");
}

TEST_CASE("gpt-oss from config.json is what its GGUF is") {
  const ModelConfig c = config_from_hf(oss_json());
  CHECK(c.architecture == "gpt-oss");
  CHECK(c.layers[2].window == 128);
  CHECK(c.layers[3].window == 0);
  CHECK(c.rope.magnitude == doctest::Approx(1.3465736));
  CHECK_FALSE(c.rope.whole_bounds);
  CHECK(c.activation == ActivationKind::kClampedSwiGlu);
  Json other = oss_json();
  other["swiglu_limit"] = 5.0;
  CHECK_THROWS_WITH_AS(config_from_hf(other), doctest::Contains("swiglu_limit 5"), Error);
  other = oss_json();
  other["layer_types"][1] = "chunked_attention";
  CHECK_THROWS_WITH_AS(config_from_hf(other), doctest::Contains("chunked_attention"), Error);
}

TEST_CASE("Llama 3.1's frequencies: high ones stay, low ones are divided by 8") {
  const Json json = Json::parse(R"({"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":4096,
    "intermediate_size":14336,"max_position_embeddings":131072,"num_attention_heads":32,"num_hidden_layers":2,
    "num_key_value_heads":8,"rms_norm_eps":1e-05,"rope_theta":500000.0,"tie_word_embeddings":false,"vocab_size":128256,
    "rope_scaling":{"factor":8.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
    "original_max_position_embeddings":8192,"rope_type":"llama3"}})");
  const ModelConfig c = config_from_hf(json);
  REQUIRE(c.rope.factors.size() == 64);
  CHECK(c.rope.factors[0] == 1.0);
  CHECK(c.rope.factors[28] == 1.0);
  CHECK(c.rope.factors[30] > 1.0);
  CHECK(c.rope.factors[30] < 8.0);
  CHECK(c.rope.factors[36] == 8.0);
  CHECK(c.rope.factors[63] == 8.0);
  CHECK(c.inv_freq()[63] == doctest::Approx(std::pow(500000.0, -126.0 / 128.0) / 8));
  // Part of what a file has, so that other programs read it.
  const auto wanted = wanted_weights(c, false);
  CHECK(std::ranges::find(wanted, WeightRole::kRopeFactors, [](const WantedWeight& w) { return w.id.role; }) !=
        wanted.end());
  Json odd = json;
  odd["rope_scaling"]["high_freq_factor"] = 0.5;
  CHECK_THROWS_WITH_AS(config_from_hf(odd), doctest::Contains("high_freq_factor 0.5"), Error);
}

TEST_CASE("MiniMax-M2 from config.json, under its older model type too") {
  Json json = Json::parse(R"({"model_type":"minimax","architectures":["MiniMaxM2ForCausalLM"],"hidden_size":3072,
    "head_dim":128,"intermediate_size":1536,"max_position_embeddings":196608,"num_attention_heads":48,
    "num_experts_per_tok":8,"num_hidden_layers":2,"num_key_value_heads":8,"num_local_experts":256,"qk_norm_type":"per_layer",
    "quantization_config":{"activation_scheme":"dynamic","fmt":"float8_e4m3fn","quant_method":"fp8",
    "weight_block_size":[128,128]},"rms_norm_eps":1e-06,"rope_theta":5000000,"rotary_dim":64,"scoring_func":"sigmoid",
    "use_qk_norm":true,"vocab_size":200064})");
  const ModelConfig c = config_from_hf(json);
  CHECK(c.architecture == "minimax-m2");
  CHECK(c.rope.dim == 64);
  CHECK(c.qk_norm == QkNorm::kWhole);
  const auto wanted = wanted_weights(c, false);
  const auto gate = std::ranges::find(wanted, std::string("blk.0.ffn_gate_exps.weight"), &WantedWeight::name);
  REQUIRE(gate != wanted.end());
  CHECK(gate->hf_name == "model.layers.0.block_sparse_moe.experts.{}.w1.weight");
  Json scaled = json;
  scaled["routed_scaling_factor"] = 2.5;  // GLM-4.5's alone
  CHECK(config_from_hf(scaled).routed_scaling_factor == 1.0);
  Json hostile = json;
  hostile["rotary_dim"] = std::int64_t{1} << 40;
  hostile["rope_scaling"] = {{"rope_type", "llama3"},
                             {"factor", 8.0},
                             {"low_freq_factor", 1.0},
                             {"high_freq_factor", 4.0},
                             {"original_max_position_embeddings", 8192}};
  CHECK_THROWS_WITH_AS(config_from_hf(hostile), doctest::Contains("1099511627776 dimensions makes no sense"), Error);
  Json silent = json;
  silent.erase("rope_theta");
  CHECK(config_from_hf(silent).rope.base == 5e6);
  json["architectures"][0] = "MiniMaxText01ForCausalLM";
  CHECK_THROWS_WITH_AS(config_from_hf(json), doctest::Contains("'minimax' is not supported"), Error);
}

TEST_CASE("GLM-4.6's FP8 with a scale for each row is known, other forms of it are not") {
  Json json = Json::parse(R"({"model_type":"glm4_moe","hidden_size":5120,"head_dim":128,"intermediate_size":12288,
    "max_position_embeddings":202752,"moe_intermediate_size":1536,"n_group":1,"topk_group":1,"n_routed_experts":160,
    "n_shared_experts":1,"norm_topk_prob":true,"num_attention_heads":96,"num_experts_per_tok":8,"num_hidden_layers":92,
    "num_key_value_heads":8,"num_nextn_predict_layers":1,"partial_rotary_factor":0.5,"rms_norm_eps":1e-05,
    "rope_theta":1000000,"routed_scaling_factor":2.5,"first_k_dense_replace":3,"use_qk_norm":true,"attention_bias":true,
    "vocab_size":151552,"quantization_config":{"quant_method":"compressed-tensors","format":"float-quantized",
    "config_groups":{"group_0":{"targets":["Linear"],"input_activations":{"num_bits":8,"type":"float","strategy":"token",
    "dynamic":true},"weights":{"num_bits":8,"type":"float","strategy":"channel"}}}}})");
  const ModelConfig c = config_from_hf(json);
  CHECK(c.n_mtp_layers == 1);
  CHECK(c.rope.dim == 64);
  CHECK(c.qk_norm == QkNorm::kPerHead);
  CHECK(c.layers[2].ffn == FfnKind::kDense);
  CHECK_FALSE(c.output_bias);
  json["quantization_config"]["config_groups"]["group_0"]["weights"]["strategy"] = "tensor";
  CHECK_THROWS_WITH_AS(config_from_hf(json), doctest::Contains("strategy 'tensor'"), Error);
}

}  // namespace
