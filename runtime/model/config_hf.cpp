// Hyper-parameters from a Hugging Face config.json: every model's beginning, and model types deepseek_v2, deepseek_v3,
// deepseek_v32, kimi_k2, kimi_k25 (its text model), glm4_moe_lite and glm_moe_dsa.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/model/architectures.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/config_hf_gqa.hpp"
#include "runtime/model/hf_fields.hpp"
#include "runtime/model/hf_quantization.hpp"
#include "runtime/model/indexer_config.hpp"
#include "runtime/model/tensor_facts.hpp"

namespace dodeca::runtime {
namespace {

double yarn_mscale(double factor, double mscale) { return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

void tell_default(const char* key, std::string_view what, const Log& log) {
  log(Level::kInfo, fmt::format("config.json has no {}: {}", key, what));
}

void read_rope(const HfFields& fields, ModelConfig& c, const Log& log) {
  c.rope.dim = c.qk_rope_head_dim;
  const Json* scaling = fields.object("rope_scaling");
  if (scaling == nullptr) scaling = fields.object("rope_parameters");  // newer transformers; rope_theta moves inside
  const Json none = Json::object();
  const HfFields rope(scaling != nullptr ? *scaling : none);
  if (fields.find("rope_theta") == nullptr && rope.find("rope_theta") == nullptr)
    tell_default("rope_theta", "10000", log);
  for (const HfFields* where : {&fields, &rope})
    if (const double part = where->number_or("partial_rotary_factor", 1.0); part != 1.0)
      throw Error(ErrorKind::kUnsupported, fmt::format("partial_rotary_factor {:g} (known: 1)", part));
  c.rope.base = rope.number_or("rope_theta", fields.number_or("rope_theta", 10000.0));
  if (scaling == nullptr) return;
  const bool named = rope.find("rope_type") != nullptr || rope.find("type") != nullptr;
  if (!named && rope.number_or("factor", 1.0) != 1.0)
    throw Error(ErrorKind::kBadFile, fmt::format("config.json: rope_scaling has a factor of {:g} and no type",
                                                 rope.number_or("factor", 1.0)));
  const std::string type = rope.string_or("rope_type", rope.string_or("type", "default"));
  if (type == "default") return;
  c.rope.factor = rope.number("factor");
  if (type == "linear") return;
  if (type != "yarn")
    throw Error(ErrorKind::kUnsupported, fmt::format("rope scaling '{}' (known: default, linear, yarn)", type));
  if (rope.find("attention_factor") != nullptr || !rope.boolean_or("truncate", true))
    throw Error(ErrorKind::kUnsupported,
                "rope_scaling with attention_factor, or with truncate false, is not supported");
  c.rope.yarn = true;
  if (rope.find("original_max_position_embeddings") == nullptr)
    tell_default("original_max_position_embeddings", fmt::format("{}, as max_position_embeddings", c.context_length),
                 log);
  c.rope.original_context = rope.integer_or("original_max_position_embeddings", c.context_length);
  c.rope.beta_fast = rope.number_or("beta_fast", 32.0);
  c.rope.beta_slow = rope.number_or("beta_slow", 1.0);
  c.rope.mscale_all_dim = rope.number_or("mscale_all_dim", 0.0);
  c.rope.magnitude =
      yarn_mscale(c.rope.factor, rope.number_or("mscale", 1.0)) / yarn_mscale(c.rope.factor, c.rope.mscale_all_dim);
}

std::optional<GatingKind> gating_by_key(const HfFields& fields) {
  const std::string scoring = fields.string_or("scoring_func", "");
  if (scoring == "softmax") return GatingKind::kSoftmax;
  if (scoring == "sigmoid") return GatingKind::kSigmoid;
  if (scoring.empty()) return std::nullopt;
  throw Error(ErrorKind::kUnsupported, fmt::format("scoring_func '{}' (known: softmax, sigmoid)", scoring));
}

void read_experts(const HfFields& fields, bool v2, const TensorFacts& facts, ModelConfig& c, const Log& log) {
  facts.set_expert_count(fields.maybe("n_routed_experts"), c);
  if (c.n_routed_experts == 0) return;
  c.n_experts_per_tok = fields.integer("num_experts_per_tok");
  c.moe_intermediate_size = fields.integer("moe_intermediate_size");
  facts.set_shared_count(fields.maybe("n_shared_experts"), c);
  if (fields.find("routed_scaling_factor") == nullptr) tell_default("routed_scaling_factor", "1", log);
  c.routed_scaling_factor = fields.number_or("routed_scaling_factor", 1.0);
  c.norm_topk_prob = fields.boolean_or("norm_topk_prob", !v2);
  c.gating = facts.gating(gating_by_key(fields), v2 ? GatingKind::kSoftmax : GatingKind::kSigmoid, "scoring_func", c);
  const std::string method = fields.string_or("topk_method", v2 ? "greedy" : "noaux_tc");
  if (method == "noaux_tc" || method == "group_limited_greedy") {
    c.group_score = method == "noaux_tc" ? GroupScoreKind::kTop2Sum : GroupScoreKind::kMax;
    if (fields.find("n_group") == nullptr) tell_default("n_group", "no groups of experts", log);
    c.n_group = fields.integer_or("n_group", 1);
    c.topk_group = fields.integer_or("topk_group", 1);
  } else if (method != "greedy") {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("topk_method '{}' (known: greedy, group_limited_greedy, noaux_tc)", method));
  }
  // DeepSeek-V2's own code either normalizes the chosen weights or scales them, never both, and one expert is never
  // normalized.
  if (v2) {
    c.norm_topk_prob = c.norm_topk_prob && c.n_experts_per_tok > 1;
    if (c.norm_topk_prob) c.routed_scaling_factor = 1.0;
  }
}

// What the keys say of a layer; empty where they say nothing, unless they are all there is.
std::function<bool(std::int64_t)> layers_with_experts(const HfFields& fields, bool keys_alone) {
  if (const Json* types = fields.find("mlp_layer_types")) {  // newer transformers
    std::vector<bool> sparse;
    for (const Json& type : types->is_array() ? *types : Json::array({*types})) {
      if (type != "sparse" && type != "dense")
        throw Error(ErrorKind::kUnsupported,
                    fmt::format("config.json: mlp_layer_types has {} (known: sparse, dense)", type.dump()));
      sparse.push_back(type == "sparse");
    }
    return [sparse](std::int64_t layer) { return layer < std::ssize(sparse) && sparse[layer]; };
  }
  const auto first = fields.maybe("first_k_dense_replace");
  const std::int64_t every = fields.integer_or("moe_layer_freq", 1);
  if (every < 1)
    throw Error(ErrorKind::kBadFile, fmt::format("config.json: moe_layer_freq is {}, must be at least 1", every));
  if (!first && every == 1 && !keys_alone) return {};
  return [first = first.value_or(0), every](std::int64_t layer) { return layer >= first && layer % every == 0; };
}

// MiniMax-M2's first files name it as an older relative.
std::string model_type(const HfFields& fields, std::string_view class_name) {
  return class_name == "MiniMaxM2ForCausalLM" ? "minimax_m2" : fields.string_or("model_type", "");
}

// The model type of a supported model, of text models inside others too.
std::string check_architecture(const HfFields& fields) {
  constexpr std::string_view kSupported[] = {"deepseek_v2", "deepseek_v3",   "deepseek_v32", "kimi_k2",
                                             "kimi_k25",    "glm4_moe_lite", "glm_moe_dsa"};
  const Json* classes = fields.find("architectures");
  const bool named = classes != nullptr && classes->is_array() && !classes->empty() && classes->front().is_string();
  const std::string class_name = named ? classes->front().get<std::string>() : "",
                    type = model_type(fields, class_name);
  const std::string supported =
      fmt::format("{}, {}", fmt::join(kSupported, ", "), fmt::join(grouped_model_types(), ", "));
  refuse_relative(class_name, supported);
  refuse_relative(type, supported);
  const auto grouped = grouped_model_types();
  if (std::ranges::find(kSupported, type) == std::end(kSupported) && std::ranges::find(grouped, type) == grouped.end())
    throw Error(ErrorKind::kUnsupported,
                fmt::format("model type '{}' is not supported (supported: {})", type, supported));
  return type;
}

}  // namespace

ModelConfig config_from_hf(const Json& config_json, const FindMatrix& size_of, const Log& log,
                           const ConfigOptions& options) {
  if (!config_json.is_object()) throw Error(ErrorKind::kBadFile, "config.json is not an object");
  const HfFields whole(config_json);
  const Json* text_model = whole.object("text_config");  // of a model for images and text
  std::string type = check_architecture(whole);
  const HfFields fields(text_model != nullptr ? *text_model : config_json);
  if (text_model != nullptr) type = check_architecture(fields);
  const bool v2 = type == "deepseek_v2";
  for (const HfFields* where : {&whole, &fields}) check_quantization(*where);
  if (const auto grouped = grouped_model_types(); std::ranges::find(grouped, type) != grouped.end()) {
    const ModelConfig c = grouped_from_hf(type, fields, size_of, log);
    validate(c);
    return c;
  }
  if (const std::string act = fields.string_or("hidden_act", "silu"); act != "silu") {
    throw Error(ErrorKind::kUnsupported, fmt::format("hidden_act '{}' (known: silu)", act));
  }
  if (!fields.boolean_or("rope_interleave", true))
    throw Error(ErrorKind::kUnsupported, "rope_interleave false is not supported");

  const TensorFacts facts(kHfNames, size_of, log);
  ModelConfig c;
  c.architecture = type == "deepseek_v32" ? "deepseek32" : type == "glm_moe_dsa" ? "glm-dsa" : "deepseek2";
  c.vocab_size = fields.integer("vocab_size");
  c.hidden_size = fields.integer("hidden_size");
  c.n_layers = fields.integer("num_hidden_layers");
  c.n_mtp_layers = fields.integer_or("num_nextn_predict_layers", 0);
  c.context_length = fields.integer_or("max_position_embeddings", 4096);
  c.rms_norm_eps = fields.number_or("rms_norm_eps", 1e-6);
  c.tied_embeddings = fields.boolean_or("tie_word_embeddings", false);
  if (size_of && fields.find("tie_word_embeddings") == nullptr && !size_of("lm_head.weight")) {
    tell_default("tie_word_embeddings", "true, as the checkpoint has no lm_head.weight", log);
    c.tied_embeddings = true;
  }
  c.attention_bias = fields.boolean_or("attention_bias", false);
  if (size_of && fields.find("attention_bias") == nullptr && size_of("model.layers.0.self_attn.o_proj.bias")) {
    tell_default("attention_bias", "true, as the checkpoint has model.layers.0.self_attn.o_proj.bias", log);
    c.attention_bias = true;
  }
  c.n_heads = fields.integer("num_attention_heads");
  c.q_lora_rank = facts.q_lora_rank(fields.integer_or("q_lora_rank", 0));
  c.kv_lora_rank = fields.integer("kv_lora_rank");
  c.qk_nope_head_dim = fields.integer("qk_nope_head_dim");
  c.qk_rope_head_dim = fields.integer("qk_rope_head_dim");
  c.v_head_dim = fields.integer("v_head_dim");
  read_rope(fields, c, log);
  c.intermediate_size = fields.integer_or("intermediate_size", 0);
  read_experts(fields, v2, facts, c, log);
  facts.set_layers(layers_with_experts(fields, !size_of), c);
  if (c.architecture != "deepseek2")
    read_indexer_hf(text_model != nullptr ? *text_model : config_json, size_of, options, c, log);
  validate(c);
  return c;
}

}  // namespace dodeca::runtime
