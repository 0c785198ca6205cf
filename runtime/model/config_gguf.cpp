// Hyper-parameters from GGUF metadata: every architecture's beginning; deepseek2, deepseek32 and glm-dsa. Keys:
// llama.cpp src/llama-arch.cpp and conversion/deepseek.py.
#include <algorithm>
#include <map>

#include "runtime/model/architectures.hpp"
#include "runtime/model/gguf_keys.hpp"
#include "runtime/model/indexer_config.hpp"

namespace dodeca::runtime {
namespace {

// What other models of llama.cpp's have and this description of a model does not.
void refuse_other_math(const GgufKeys& keys, std::initializer_list<const char*> more) {
  const auto refuse = [&](const char* key) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("the model uses {}{}, which is not supported", keys.prefix(), key));
  };
  for (const char* key : {"attention.temperature_scale", "attention.temperature_length"})
    if (keys.has(key)) refuse(key);
  for (const char* key :
       {"logit_scale", "residual_scale", "embedding_scale", "attn_logit_softcapping", "final_logit_softcapping",
        "router_logit_softcapping", "attention.clamp_kqv", "attention.max_alibi_bias", "attention.scale",
        "attention.output_scale", "swiglu_clamp_exp", "swiglu_clamp_shexp", "expert_group_scale", "moe_every_n_layers",
        "interleave_moe_layer_step"})
    if (!keys.neutral(key)) refuse(key);
  for (const char* key : more)
    if (!keys.neutral(key)) refuse(key);
}

void read_rope(const GgufKeys& keys, ModelConfig& c, const Log& log) {
  c.rope.dim = keys.integer("rope.dimension_count");
  c.qk_rope_head_dim = c.rope.dim;
  if (!keys.has("rope.freq_base")) tell_default(keys, "rope.freq_base", "10000", Level::kInfo, log);
  c.rope.base = keys.number("rope.freq_base").value_or(10000.0);
  const std::string type = scaling_type(keys, log);
  if (type == "yarn") {
    c.rope.yarn = true;
    c.rope.factor = keys.needed_number("rope.scaling.factor");
    c.rope.original_context = keys.integer("rope.scaling.original_context_length");
    c.rope.beta_fast = keys.number("rope.scaling.yarn_beta_fast").value_or(32.0);
    c.rope.beta_slow = keys.number("rope.scaling.yarn_beta_slow").value_or(1.0);
    if (const auto multiplier = keys.number("rope.scaling.yarn_log_multiplier")) {
      c.rope.mscale_all_dim = *multiplier / 0.1;  // the file's value already contains YaRN's 0.1
    } else {
      tell_default(keys, "rope.scaling.yarn_log_multiplier", "attention is scaled without YaRN's factor",
                   Level::kWarning, log);
    }
  } else if (type == "linear") {
    c.rope.factor = keys.has("rope.scaling.factor") || !keys.has("rope.scale_linear")
                        ? keys.needed_number("rope.scaling.factor")
                        : *keys.number("rope.scale_linear");
  } else if (type != "none") {
    throw Error(ErrorKind::kUnsupported, fmt::format("rope scaling '{}' (known: none, linear, yarn)", type));
  }
}

void read_groups(const GgufKeys& keys, const TensorFacts& facts, const ConfigOptions& options, ModelConfig& c,
                 const Log& log) {
  if (const auto groups = keys.maybe("expert_group_count")) {
    c.n_group = std::max<std::int64_t>(1, *groups);
    c.topk_group = c.n_group == 1 ? 1 : keys.integer("expert_group_used_count");
  } else if (c.n_routed_experts == 256 && c.architecture != "glm-dsa" && facts.selection_bias(c) &&
             !options.plain_topk && c.gating == GatingKind::kSigmoid) {
    // Files made before converters wrote the group keys; the published V3 and R1 configurations have n_group 8,
    // topk_group 4.
    c.n_group = 8;
    c.topk_group = 4;
    log(Level::kInfo,
        "the file does not name its expert groups: 8 groups of which 4 are kept, as DeepSeek-V3 was trained");
  } else if (c.gating == GatingKind::kSigmoid && c.n_routed_experts > 1) {
    tell_default(keys, "expert_group_count", "no groups", Level::kInfo, log);
  }
}

void read_experts(const GgufKeys& keys, const TensorFacts& facts, const ConfigOptions& options, ModelConfig& c,
                  const Log& log) {
  facts.set_expert_count(keys.maybe("expert_count"), c);
  if (c.n_routed_experts == 0) return;
  c.n_experts_per_tok = keys.integer("expert_used_count");
  c.moe_intermediate_size = keys.integer("expert_feed_forward_length");
  facts.set_shared_count(keys.maybe("expert_shared_count"), c);
  c.gating =
      facts.gating(gating_by_key(keys), c.architecture == "glm-dsa" ? GatingKind::kSigmoid : GatingKind::kSoftmax,
                   keys.prefix() + "expert_gating_func", c);
  c.group_score = c.gating == GatingKind::kSigmoid ? GroupScoreKind::kTop2Sum : GroupScoreKind::kMax;
  const auto scale = keys.number("expert_weights_scale");
  if (!scale) tell_default(keys, "expert_weights_scale", "1, so experts' weights are not scaled", Level::kWarning, log);
  c.routed_scaling_factor = scale.value_or(0.0) == 0.0 ? 1.0 : *scale;  // llama.cpp: 0 means unscaled
  const auto norm = keys.boolean("expert_weights_norm");
  if (!norm && c.gating == GatingKind::kSigmoid && c.n_experts_per_tok > 1)
    tell_default(keys, "expert_weights_norm",
                 "false, so experts' weights are not normalized, unlike every published model with sigmoid routing",
                 Level::kWarning, log);
  c.norm_topk_prob = norm.value_or(false);
  read_groups(keys, facts, options, c, log);
}

// Where keys of the newer layout are missing, the widths of heads follow from the matrices.
void read_head_widths(const GgufKeys& keys, const FindMatrix& find, ModelConfig& c, const Log& log) {
  std::optional<std::int64_t> key = keys.maybe("attention.key_length_mla"),
                              value = keys.maybe("attention.value_length_mla");
  const auto k_b = find("blk.0.attn_k_b.weight"), output = find("blk.0.attn_output.weight");
  if ((!key || !value) && k_b && output && c.n_heads > 0) {
    // Beside attn_k_b, key_length and value_length are those of the cache's row.
    if (!key) key = k_b->n_in + c.qk_rope_head_dim;
    if (!value) value = output->n_in / c.n_heads;
    log(Level::kInfo, fmt::format("the file has no {0}attention.key_length_mla or {0}attention.value_length_mla: {1} "
                                  "and {2}, as attn_k_b and attn_output show",
                                  keys.prefix(), *key, *value));
  }
  c.qk_nope_head_dim = key.value_or(keys.integer_or("attention.key_length", 0)) - c.qk_rope_head_dim;
  c.v_head_dim = value.value_or(keys.integer_or("attention.value_length", 0));
}

}  // namespace

ModelConfig config_from_gguf(const Metadata& metadata, const std::vector<GgufTensor>& tensors,
                             const ConfigOptions& options, const Log& log) {
  const auto architecture = metadata.string("general.architecture");
  if (!architecture) throw Error(ErrorKind::kBadFile, "the file has no key general.architecture");
  if (const auto type = metadata.string("general.type"); type && *type != "model") {
    throw Error(ErrorKind::kUnsupported, fmt::format("the file is not a model (general.type is '{}')", *type));
  }
  constexpr std::string_view kSupported =
      "deepseek2, i.e. DeepSeek-V2, V2.5, V3, R1, V3.1, Kimi-K2, Moonlight and GLM-4.7-Flash; deepseek32, i.e. "
      "DeepSeek-V3.2; glm-dsa, i.e. GLM-5 to 5.3; qwen3moe, glm4moe, minimax-m2, gpt-oss, llama";
  refuse_relative(*architecture, kSupported);
  const bool grouped = has_grouped_queries(*architecture);
  if (*architecture != "deepseek2" && *architecture != "deepseek32" && *architecture != "glm-dsa" && !grouped)
    throw Error(ErrorKind::kUnsupported,
                fmt::format("architecture '{}' is not supported (supported: {})", *architecture, kSupported));
  const GgufKeys keys(metadata, *architecture + ".");
  if (grouped)
    refuse_other_math(keys, {});
  else
    refuse_other_math(keys, {"attention.sliding_window", "rope.scaling.attn_factor"});
  std::map<std::string_view, const GgufTensor*> by_name;
  for (const GgufTensor& tensor : tensors) by_name.emplace(tensor.name, &tensor);
  const FindMatrix find = [&](std::string_view name) -> std::optional<MatrixSize> {
    const auto at = by_name.find(name);
    if (at == by_name.end()) return std::nullopt;
    const std::vector<std::int64_t>& dims = at->second->dims;
    return MatrixSize{dims[0], dims.size() > 1 ? dims[1] : 1};
  };
  ModelConfig c;
  c.architecture = *architecture;
  c.name = metadata.string("general.name").value_or("");
  if (grouped) {
    read_grouped(metadata, keys, find, c, log);
    validate(c);
    return c;
  }
  const TensorFacts facts(kGgufNames, find, log);
  c.hidden_size = keys.integer("embedding_length");
  read_layer_count(keys, facts, c, log);
  c.context_length = keys.integer("context_length");
  c.rms_norm_eps = keys.needed_number("attention.layer_norm_rms_epsilon");
  c.n_heads = keys.integer("attention.head_count");
  read_vocabulary(metadata, keys, find, c, log);
  read_rope(keys, c, log);
  c.kv_lora_rank = keys.integer("attention.kv_lora_rank");
  c.q_lora_rank = facts.q_lora_rank(keys.integer_or("attention.q_lora_rank", 0));
  read_head_widths(keys, find, c, log);
  for (const char* bias : {"blk.0.attn_q_a.bias", "blk.0.attn_kv_a_mqa.bias", "blk.0.attn_output.bias"})
    if (!c.attention_bias && find(bias)) {
      c.attention_bias = true;
      log(Level::kInfo, fmt::format("attention has biases ({}, ...)", bias));
    }
  c.intermediate_size = keys.integer("feed_forward_length");
  read_experts(keys, facts, options, c, log);
  const auto n_dense = keys.maybe("leading_dense_block_count");
  facts.set_layers(
      n_dense ? [n = *n_dense](std::int64_t layer) { return layer >= n; } : std::function<bool(std::int64_t)>(), c);
  read_indexer_gguf(metadata, find, options, c, log);
  validate(c);
  return c;
}

}  // namespace dodeca::runtime
