// Hyper-parameters from a Hugging Face config.json: model types deepseek_v2, deepseek_v3 and kimi_k2.
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/model/config.hpp"
#include "runtime/model/tensor_facts.hpp"

namespace dodeca::runtime {
namespace {

// Typed access with errors that name the key; null counts as absent, as in transformers.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json) {}

  const Json* find(const char* key) const {
    const auto it = json_.find(key);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  std::optional<std::int64_t> maybe(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() && value->get<std::uint64_t>() > (std::uint64_t{1} << 62)))
      wrong(key, "an integer");
    return value->get<std::int64_t>();
  }
  std::int64_t integer_or(const char* key, std::int64_t fallback) const { return maybe(key).value_or(fallback); }
  std::int64_t integer(const char* key) const {
    need(key);
    return integer_or(key, 0);
  }
  double number(const char* key) const {
    need(key);
    return number_or(key, 0.0);
  }
  double number_or(const char* key, double fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number()) wrong(key, "a number");
    return value->get<double>();
  }
  bool boolean_or(const char* key, bool fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) wrong(key, "true or false");
    return value->get<bool>();
  }
  std::string string_or(const char* key, std::string fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) wrong(key, "a string");
    return value->get<std::string>();
  }
  const Json* object(const char* key) const {
    const Json* value = find(key);
    if (value != nullptr && !value->is_object()) wrong(key, "an object");
    return value;
  }

 private:
  void need(const char* key) const {
    if (find(key) == nullptr) throw Error(ErrorKind::kBadFile, fmt::format("config.json has no {}", key));
  }
  [[noreturn]] static void wrong(const char* key, const char* wanted) {
    throw Error(ErrorKind::kBadFile, fmt::format("config.json: {} is not {}", key, wanted));
  }
  const Json& json_;
};

double yarn_mscale(double factor, double mscale) { return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

void tell_default(const char* key, std::string_view what, const Log& log) {
  log(Level::kInfo, fmt::format("config.json has no {}: {}", key, what));
}

void read_rope(const Fields& fields, ModelConfig& c, const Log& log) {
  c.rope.dim = c.qk_rope_head_dim;
  const Json* scaling = fields.object("rope_scaling");
  if (scaling == nullptr) scaling = fields.object("rope_parameters");  // newer transformers; rope_theta moves inside
  const Json none = Json::object();
  const Fields rope(scaling != nullptr ? *scaling : none);
  if (fields.find("rope_theta") == nullptr && rope.find("rope_theta") == nullptr)
    tell_default("rope_theta", "10000", log);
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

void check_quantization(const Fields& fields) {
  const Json* object = fields.object("quantization_config");
  if (object == nullptr) return;
  const Fields q(*object);
  const std::string method = q.string_or("quant_method", "");
  if (method == "compressed-tensors") {
    throw Error(ErrorKind::kUnsupported,
                "compressed-tensors checkpoints (Kimi-K2-Thinking's INT4) are not supported yet");
  }
  if (method != "fp8")
    throw Error(ErrorKind::kUnsupported, fmt::format("quantization method '{}' (known: fp8)", method));
  if (const std::string format = q.string_or("fmt", "e4m3"); format != "e4m3") {
    throw Error(ErrorKind::kUnsupported, fmt::format("FP8 format '{}' (known: e4m3)", format));
  }
  const Json* block = q.find("weight_block_size");
  if (block == nullptr || *block != Json::array({128, 128})) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("FP8 weight_block_size {} (known: [128,128])", block == nullptr ? "null" : block->dump()));
  }
}

std::optional<GatingKind> gating_by_key(const Fields& fields) {
  const std::string scoring = fields.string_or("scoring_func", "");
  if (scoring == "softmax") return GatingKind::kSoftmax;
  if (scoring == "sigmoid") return GatingKind::kSigmoid;
  if (scoring.empty()) return std::nullopt;
  throw Error(ErrorKind::kUnsupported, fmt::format("scoring_func '{}' (known: softmax, sigmoid)", scoring));
}

void read_experts(const Fields& fields, bool v2, const TensorFacts& facts, ModelConfig& c, const Log& log) {
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

}  // namespace

ModelConfig config_from_hf(const Json& config_json, const FindMatrix& size_of, const Log& log) {
  if (!config_json.is_object()) throw Error(ErrorKind::kBadFile, "config.json is not an object");
  const Fields fields(config_json);
  const std::string type = fields.string_or("model_type", "");
  const bool v2 = type == "deepseek_v2";
  if (type == "deepseek_v32")
    throw Error(ErrorKind::kUnsupported, "DeepSeek-V3.2 needs sparse attention, which is not supported yet");
  if (!v2 && type != "deepseek_v3" && type != "kimi_k2") {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("model type '{}' is not supported (supported: deepseek_v2, deepseek_v3, kimi_k2)", type));
  }
  check_quantization(fields);
  if (const std::string act = fields.string_or("hidden_act", "silu"); act != "silu") {
    throw Error(ErrorKind::kUnsupported, fmt::format("hidden_act '{}' (known: silu)", act));
  }
  if (!fields.boolean_or("rope_interleave", true))
    throw Error(ErrorKind::kUnsupported, "rope_interleave false is not supported");

  const TensorFacts facts(kHfNames, size_of, log);
  ModelConfig c;
  c.architecture = "deepseek2";
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
  const auto first_moe = fields.maybe("first_k_dense_replace");
  const std::int64_t every = fields.integer_or("moe_layer_freq", 1);
  if (every < 1)
    throw Error(ErrorKind::kBadFile, fmt::format("config.json: moe_layer_freq is {}, must be at least 1", every));
  std::function<bool(std::int64_t)> has_experts;
  if (first_moe || every > 1 || !size_of)
    has_experts = [first = first_moe.value_or(0), every](std::int64_t layer) {
      return layer >= first && layer % every == 0;
    };
  facts.set_layers(has_experts, c);
  validate(c);
  return c;
}

}  // namespace dodeca::runtime
