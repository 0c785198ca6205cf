#include "runtime/model/config.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/model/wanted.hpp"

namespace {

using namespace dodeca::runtime;

const Log kSilent = [](Level, std::string_view) {};

Json v3_json() {
  return Json::parse(R"({"model_type":"deepseek_v3","vocab_size":129280,"hidden_size":7168,"intermediate_size":18432,
    "moe_intermediate_size":2048,"num_hidden_layers":61,"num_nextn_predict_layers":1,"num_attention_heads":128,
    "n_shared_experts":1,"n_routed_experts":256,"routed_scaling_factor":2.5,"kv_lora_rank":512,"q_lora_rank":1536,
    "qk_rope_head_dim":64,"v_head_dim":128,"qk_nope_head_dim":128,"topk_method":"noaux_tc","n_group":8,"topk_group":4,
    "num_experts_per_tok":8,"moe_layer_freq":1,"first_k_dense_replace":3,"norm_topk_prob":true,"scoring_func":"sigmoid",
    "rms_norm_eps":1e-6,"rope_theta":10000,"max_position_embeddings":163840,"rope_scaling":{"type":"yarn","factor":40,
    "original_max_position_embeddings":4096,"beta_fast":32,"beta_slow":1,"mscale":1.0,"mscale_all_dim":1.0}})");
}

Metadata v3_metadata() {
  Metadata m;
  const auto u32 = [&](const char* key, std::uint32_t v) { m.set(std::string("deepseek2.") + key, v); };
  m.set("general.architecture", std::string("deepseek2"));
  u32("block_count", 61);
  u32("context_length", 163840);
  u32("embedding_length", 7168);
  u32("feed_forward_length", 18432);
  u32("expert_feed_forward_length", 2048);
  u32("leading_dense_block_count", 3);
  u32("attention.head_count", 128);
  u32("attention.head_count_kv", 1);
  u32("attention.q_lora_rank", 1536);
  u32("attention.kv_lora_rank", 512);
  u32("attention.key_length", 576);
  u32("attention.value_length", 512);
  u32("attention.key_length_mla", 192);
  u32("attention.value_length_mla", 128);
  u32("rope.dimension_count", 64);
  u32("expert_count", 256);
  u32("expert_used_count", 8);
  u32("expert_shared_count", 1);
  u32("expert_gating_func", 2);
  u32("rope.scaling.original_context_length", 4096);
  m.set("deepseek2.attention.layer_norm_rms_epsilon", 1e-6f);
  m.set("deepseek2.rope.freq_base", 10000.0f);
  m.set("deepseek2.rope.scaling.type", std::string("yarn"));
  m.set("deepseek2.rope.scaling.factor", 40.0f);
  m.set("deepseek2.rope.scaling.yarn_log_multiplier", 0.1f);
  m.set("deepseek2.expert_weights_scale", 2.5f);
  m.set("deepseek2.expert_weights_norm", true);
  return m;
}

const std::vector<GgufTensor> kTensors = {{"token_embd.weight", dodeca::quant::DType::kQ4_K, {7168, 129280}},
                                          {"output.weight", dodeca::quant::DType::kQ6_K, {7168, 129280}},
                                          {"blk.0.attn_q_a.weight", dodeca::quant::DType::kQ4_K, {7168, 1536}},
                                          {"blk.3.exp_probs_b.bias", dodeca::quant::DType::kF32, {256}}};

// Effective inverse frequencies of the published models, from their configurations.
const std::vector<double> kV3Frequencies = {
    1,       0.7498942,    0.5623413,    0.4216965,    0.3162278,    0.2371374,    0.1778279,    0.1333521,
    0.1,     0.07498942,   0.05623413,   0.03900693,   0.02687936,   0.01837815,   0.01244796,   0.008334509,
    0.0055,  0.003561997,  0.002249365,  0.001370514,  0.0007905694, 0.0004149904, 0.0001778279, 3.333804e-05,
    2.5e-05, 1.874736e-05, 1.405853e-05, 1.054241e-05, 7.905694e-06, 5.928434e-06, 4.445699e-06, 3.333804e-06};
const std::vector<double> kKimiFrequencies = {
    1,           0.7131111,    0.5085274,    0.3626365,    0.2586001,    0.1844106,    0.1315053,    0.09377786,
    0.06687403,  0.04768861,   0.03400728,   0.02425097,   0.01729363,   0.01233228,   0.008794287,  0.006271303,
    0.004472136, 0.00318913,   0.002274204,  0.00162176,   3.614047e-05, 2.577217e-05, 1.837842e-05, 1.310585e-05,
    9.34593e-06, 6.664686e-06, 4.752662e-06, 3.389176e-06, 2.416859e-06, 1.723489e-06, 1.229039e-06, 8.764413e-07};

void check_frequencies(const std::vector<double>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(2e-6));
}

TEST_CASE("DeepSeek-V3 from config.json") {
  const ModelConfig c = config_from_hf(v3_json());
  CHECK(c.n_layers == 61);
  CHECK(c.n_mtp_layers == 1);
  CHECK(c.layers[2].ffn == FfnKind::kDense);
  CHECK(c.layers[3].ffn == FfnKind::kMoe);
  CHECK(c.gating == GatingKind::kSigmoid);
  CHECK(c.group_score == GroupScoreKind::kTop2Sum);
  CHECK(c.n_group == 8);
  CHECK(c.softmax_scale(AttentionKind::kMla) == doctest::Approx(0.13523378).epsilon(1e-6));
  CHECK(c.rope.magnitude == 1.0);
  CHECK(c.cache_row_width(AttentionKind::kMla) == 576);
  check_frequencies(c.inv_freq(), kV3Frequencies);
}

TEST_CASE("Kimi-K2's YaRN betas are honoured") {
  Json j = v3_json();
  j["model_type"] = "kimi_k2";
  j["rope_theta"] = 50000.0;
  j["rope_scaling"]["factor"] = 32;
  j["rope_scaling"]["beta_fast"] = 1.0;
  const ModelConfig c = config_from_hf(j);
  check_frequencies(c.inv_freq(), kKimiFrequencies);
}

TEST_CASE("rope_parameters of newer transformers mean the same as rope_scaling") {
  Json j = v3_json();
  j["rope_parameters"] = j["rope_scaling"];
  j["rope_parameters"]["rope_theta"] = 10000;
  j["rope_parameters"]["rope_type"] = "yarn";
  j.erase("rope_scaling");
  j.erase("rope_theta");
  check_frequencies(config_from_hf(j).inv_freq(), kV3Frequencies);
}

Json int4_quantization() {
  return Json::parse(R"({"quant_method":"compressed-tensors","format":"pack-quantized","kv_cache_scheme":null,
    "quantization_status":"compressed","ignore":["lm_head","re:.*self_attn.*","re:.*shared_experts.*"],
    "config_groups":{"group_0":{"targets":["Linear"],"input_activations":null,"output_activations":null,
    "weights":{"num_bits":4,"type":"int","symmetric":true,"strategy":"group","group_size":32,"actorder":null,
    "dynamic":false}}}})");
}

TEST_CASE("Kimi-K2-Thinking's and its successors' 4-bit integers are known, wherever config.json says so") {
  Json text = v3_json();
  text["model_type"] = "kimi_k2";
  text["quantization_config"] = int4_quantization();
  CHECK(config_from_hf(text).n_layers == 61);
  const Json wrapper = {{"model_type", "kimi_k25"},
                        {"architectures", {"KimiK25ForConditionalGeneration"}},
                        {"vision_config", {{"hidden_size", 1152}, {"num_hidden_layers", 27}}},
                        {"text_config", text}};
  const ModelConfig c = config_from_hf(wrapper);
  CHECK(c.architecture == "deepseek2");
  CHECK(c.hidden_size == 7168);
  CHECK(c.n_routed_experts == 256);
  Json outside = wrapper;
  outside["text_config"].erase("quantization_config");
  outside["quantization_config"] = int4_quantization();
  CHECK(config_from_hf(outside).n_layers == 61);

  const auto refused = [&](const char* pointer, const Json& value, const char* message) {
    for (const bool inside : {true, false}) {
      Json j = inside ? wrapper : outside;
      j[Json::json_pointer((inside ? "/text_config" : "") + std::string("/quantization_config") + pointer)] = value;
      CHECK_THROWS_WITH_AS(config_from_hf(j), doctest::Contains(message), Error);
    }
  };
  refused("/format", "marlin-24", "format 'marlin-24'");
  refused("/config_groups", Json::object(), "no config_groups");
  refused("/config_groups/group_0/weights", nullptr, "says nothing of its weights");
  refused("/config_groups/group_0/weights/num_bits", 8, "weights of 8 bits");
  refused("/config_groups/group_0/weights/type", "float", "type float");
  refused("/config_groups/group_0/weights/symmetric", false, "not symmetric");
  refused("/config_groups/group_0/weights/strategy", "channel", "strategy channel");
  refused("/config_groups/group_0/weights/group_size", 16, "group_size 16");
  refused("/config_groups/group_0/input_activations", Json{{"num_bits", 8}}, "input_activations");
  refused("/quant_method", "gptq", "'gptq'");
}

TEST_CASE("GLM-4.7-Flash from config.json") {
  Json j = Json::parse(R"({"architectures":["Glm4MoeLiteForCausalLM"],"model_type":"glm4_moe_lite","vocab_size":154880,
    "hidden_size":2048,"intermediate_size":10240,"moe_intermediate_size":1536,"num_hidden_layers":47,
    "num_nextn_predict_layers":1,"num_attention_heads":20,"num_key_value_heads":20,"n_shared_experts":1,
    "n_routed_experts":64,"routed_scaling_factor":1.8,"kv_lora_rank":512,"q_lora_rank":768,"qk_rope_head_dim":64,
    "v_head_dim":256,"qk_nope_head_dim":192,"topk_method":"noaux_tc","n_group":1,"topk_group":1,
    "num_experts_per_tok":4,"first_k_dense_replace":1,"norm_topk_prob":true,"rms_norm_eps":1e-5,"rope_theta":1000000,
    "partial_rotary_factor":1.0,"rope_scaling":null,"max_position_embeddings":202752,"tie_word_embeddings":false})");
  const auto check = [](const ModelConfig& c) {
    CHECK(c.architecture == "deepseek2");
    CHECK(c.gating == GatingKind::kSigmoid);
    CHECK(c.layers[0].ffn == FfnKind::kDense);
    CHECK(c.layers[1].ffn == FfnKind::kMoe);
    CHECK(c.layers[46].ffn == FfnKind::kMoe);
    CHECK(c.n_mtp_layers == 1);
    CHECK(c.softmax_scale(AttentionKind::kMla) == 1.0 / 16.0);
    CHECK(c.rope.base == 1e6);
    CHECK(c.v_head_dim == 256);
  };
  check(config_from_hf(j));
  // As newer transformers write it.
  j.erase("first_k_dense_replace");
  j.erase("rope_theta");
  j["mlp_layer_types"] = std::vector<std::string>(47, "sparse");
  j["mlp_layer_types"][0] = "dense";
  j["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1000000}, {"partial_rotary_factor", 1.0}};
  check(config_from_hf(j));
}

TEST_CASE("V2's router: softmax, group maximum, normalized or scaled but never both") {
  Json j = v3_json();
  j["model_type"] = "deepseek_v2";
  j["topk_method"] = "group_limited_greedy";
  j["scoring_func"] = "softmax";
  j["norm_topk_prob"] = false;
  j["routed_scaling_factor"] = 16.0;
  ModelConfig c = config_from_hf(j);
  CHECK(c.gating == GatingKind::kSoftmax);
  CHECK(c.group_score == GroupScoreKind::kMax);
  CHECK(c.routed_scaling_factor == 16.0);
  j["norm_topk_prob"] = true;
  c = config_from_hf(j);
  CHECK(c.norm_topk_prob);
  CHECK(c.routed_scaling_factor == 1.0);
  j["topk_method"] = "greedy";
  CHECK(config_from_hf(j).n_group == 1);
}

TEST_CASE("what cannot run is refused by name") {
  const auto refused = [](auto&& change, const char* message) {
    Json j = v3_json();
    change(j);
    CHECK_THROWS_WITH_AS(config_from_hf(j), doctest::Contains(message), Error);
  };
  refused([](Json& j) { j["model_type"] = "deepseek_v4"; }, "compressed rows");
  refused([](Json& j) { j["model_type"] = "gemma"; }, "'gemma'");
  refused([](Json& j) { j["architectures"] = {"DeepseekV4ForCausalLM"}; }, "compressed rows");
  refused([](Json& j) { j["partial_rotary_factor"] = 0.5; }, "partial_rotary_factor 0.5");
  refused([](Json& j) { j["mlp_layer_types"] = {"dense", "mixed"}; }, "\"mixed\"");
  refused(
      [](Json& j) {
        j["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {64, 64}}};
      },
      "weight_block_size");
  refused([](Json& j) { j["topk_method"] = "lottery"; }, "lottery");
  refused([](Json& j) { j["num_experts_per_tok"] = 300; }, "experts per token");
  refused([](Json& j) { j["n_group"] = 7; }, "expert groups");
  refused([](Json& j) { j["hidden_size"] = -1; }, "hidden size");
  refused([](Json& j) { j["hidden_size"] = "many"; }, "hidden_size");
  refused([](Json& j) { j.erase("kv_lora_rank"); }, "kv_lora_rank");
  refused([](Json& j) { j["num_hidden_layers"] = 100000; }, "layers");
  refused([](Json& j) { j["qk_rope_head_dim"] = 63; }, "even");
  refused([](Json& j) { j["moe_layer_freq"] = 0; }, "moe_layer_freq");
  for (const std::int64_t n : {std::int64_t{-1}, std::int64_t{1} << 62})
    refused([&](Json& j) { j["num_nextn_predict_layers"] = n; }, "multi-token-prediction layers");
}

TEST_CASE("GGUF metadata says the same as config.json") {
  Metadata m = v3_metadata();
  m.set("deepseek2.expert_group_count", std::uint32_t{8});
  m.set("deepseek2.expert_group_used_count", std::uint32_t{4});
  const ModelConfig c = config_from_gguf(m, kTensors, {}, kSilent);
  const ModelConfig hf = config_from_hf(v3_json());
  CHECK(c.qk_nope_head_dim == hf.qk_nope_head_dim);
  CHECK(c.v_head_dim == hf.v_head_dim);
  CHECK(c.q_lora_rank == hf.q_lora_rank);
  CHECK(c.n_group == hf.n_group);
  CHECK(c.topk_group == hf.topk_group);
  CHECK(c.softmax_scale(AttentionKind::kMla) == doctest::Approx(hf.softmax_scale(AttentionKind::kMla)));
  check_frequencies(c.inv_freq(), kV3Frequencies);
}

TEST_CASE("the old layout's head widths come from key_length and value_length") {
  Metadata m = v3_metadata();
  m.erase("deepseek2.attention.key_length_mla");
  m.erase("deepseek2.attention.value_length_mla");
  m.set("deepseek2.attention.key_length", std::uint32_t{192});
  m.set("deepseek2.attention.value_length", std::uint32_t{128});
  const ModelConfig c = config_from_gguf(m, kTensors, {}, kSilent);
  CHECK(c.qk_nope_head_dim == 128);
  CHECK(c.v_head_dim == 128);
}

TEST_CASE("V3 files without group keys run with 8 groups of which 4 are kept, or plain") {
  std::string said;
  const Log log = [&](Level, std::string_view line) { said += line; };
  const ModelConfig c = config_from_gguf(v3_metadata(), kTensors, {}, log);
  CHECK(c.n_group == 8);
  CHECK(c.topk_group == 4);
  CHECK(said.find("8 groups of which 4") != std::string::npos);
  CHECK(config_from_gguf(v3_metadata(), kTensors, {.plain_topk = true}, log).n_group == 1);
}

TEST_CASE("missing and odd GGUF keys are named") {
  for (const char* key : {"general.architecture", "deepseek2.block_count", "deepseek2.embedding_length",
                          "deepseek2.attention.kv_lora_rank", "deepseek2.expert_used_count",
                          "deepseek2.rope.dimension_count", "deepseek2.context_length"}) {
    Metadata m = v3_metadata();
    m.erase(key);
    CHECK_THROWS_WITH_AS(config_from_gguf(m, kTensors, {}, kSilent), doctest::Contains(key), Error);
  }
  Metadata m = v3_metadata();
  m.set("general.architecture", std::string("qwen3moe"));
  CHECK_THROWS_WITH_AS(config_from_gguf(m, kTensors, {}, kSilent), doctest::Contains("qwen3moe"), Error);
  m = v3_metadata();
  m.set("deepseek2.expert_gating_func", std::uint32_t{9});
  CHECK_THROWS_WITH_AS(config_from_gguf(m, kTensors, {}, kSilent), doctest::Contains("expert_gating_func"), Error);
  m = v3_metadata();
  m.set("deepseek2.nextn_predict_layers", std::uint32_t{61});
  CHECK_THROWS_AS(config_from_gguf(m, kTensors, {}, kSilent), Error);
  CHECK_THROWS_AS(config_from_gguf(v3_metadata(), {}, {}, kSilent), Error);
}

TEST_CASE("V3 wants 1,086 weights, as its converted files hold") {
  ModelConfig c = config_from_hf(v3_json());
  CHECK(wanted_weights(c, false).size() == 1086);
  std::int64_t elements = 0;
  for (const WantedWeight& w : wanted_weights(c, false)) elements += w.n_in * w.n_out * w.n_slices;
  CHECK(static_cast<double>(elements) / 1e9 == doctest::Approx(671.026).epsilon(1e-6));
}

}  // namespace
