// Hyper-parameters from GGUF metadata, architectures deepseek2, deepseek32 and glm-dsa. Keys: llama.cpp src/llama-arch.cpp and
// conversion/deepseek.py.
#include <algorithm>
#include <map>

#include "runtime/model/architectures.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/indexer_config.hpp"
#include "runtime/model/tensor_facts.hpp"

namespace dodeca::runtime {
namespace {

class Keys {
 public:
  Keys(const Metadata& metadata, std::string prefix) : metadata_(metadata), prefix_(std::move(prefix)) {}

  bool has(std::string_view key) const { return metadata_.find(prefix_ + std::string(key)) != nullptr; }
  std::optional<std::int64_t> maybe(std::string_view key) const {
    const std::string full = prefix_ + std::string(key);
    // Per-layer arrays of equal numbers are written by some converters; the first layer speaks for all.
    const MetaValue* value = metadata_.find(full);
    if (value != nullptr && is_array(*value)) {
      const auto list = metadata_.integers(full);
      if (list->empty() ||
          std::any_of(list->begin(), list->end(), [&](std::int64_t v) { return v != list->front(); })) {
        throw Error(ErrorKind::kUnsupported, fmt::format("{} differs between layers", full));
      }
      return list->front();
    }
    return metadata_.integer(full);
  }
  std::int64_t integer(std::string_view key) const {
    if (const auto value = maybe(key)) return *value;
    throw missing(key);
  }
  std::int64_t integer_or(std::string_view key, std::int64_t fallback) const { return maybe(key).value_or(fallback); }
  std::optional<double> number(std::string_view key) const { return metadata_.number(prefix_ + std::string(key)); }
  double needed_number(std::string_view key) const {
    if (const auto value = number(key)) return *value;
    throw missing(key);
  }
  std::optional<bool> boolean(std::string_view key) const { return metadata_.boolean(prefix_ + std::string(key)); }
  std::optional<std::string> string(std::string_view key) const { return metadata_.string(prefix_ + std::string(key)); }
  const std::string& prefix() const { return prefix_; }
  Error missing(std::string_view key, std::string_view why = {}) const {
    return Error(ErrorKind::kBadFile, fmt::format("the file has no key {}{}{}", prefix_, key, why));
  }
  // Whether the key is absent or says 0 or 1 (for every layer): neither changes anything.
  bool neutral(std::string_view key) const {
    const std::string full = prefix_ + std::string(key);
    const MetaValue* value = metadata_.find(full);
    if (value == nullptr) return true;
    const std::vector<double> numbers = is_array(*value) ? *metadata_.numbers(full) : std::vector{number_of(full)};
    return std::all_of(numbers.begin(), numbers.end(), [](double v) { return v == 0.0 || v == 1.0; });
  }

 private:
  double number_of(const std::string& full) const {
    return std::holds_alternative<bool>(*metadata_.find(full)) ? *metadata_.boolean(full) : *metadata_.number(full);
  }
  const Metadata& metadata_;
  std::string prefix_;
};

// What other models of llama.cpp's have and this description of a model does not.
void refuse_other_math(const Keys& keys) {
  for (const char* key : {"attention.temperature_scale", "attention.temperature_length"})
    if (keys.has(key))
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("the model uses {}{}, which is not supported", keys.prefix(), key));
  for (const char* key :
       {"logit_scale", "residual_scale", "embedding_scale", "attn_logit_softcapping", "final_logit_softcapping",
        "router_logit_softcapping", "attention.clamp_kqv", "attention.max_alibi_bias", "attention.sliding_window",
        "attention.scale", "attention.output_scale", "swiglu_clamp_exp", "swiglu_clamp_shexp",
        "rope.scaling.attn_factor", "expert_group_scale", "moe_every_n_layers", "interleave_moe_layer_step"})
    if (!keys.neutral(key))
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("the model uses {}{}, which is not supported", keys.prefix(), key));
}

void tell_default(const Keys& keys, std::string_view key, std::string_view what, Level level, const Log& log) {
  log(level, fmt::format("the file has no {}{}: {}", keys.prefix(), key, what));
}

// The kind of scaling where the file does not name it: keys of one kind alone tell, a factor does not.
std::string scaling_type(const Keys& keys, const Log& log) {
  if (const auto type = keys.string("rope.scaling.type")) return *type;
  for (const char* key : {"rope.scaling.yarn_log_multiplier", "rope.scaling.yarn_beta_fast",
                          "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_ext_factor"})
    if (keys.has(key)) {
      tell_default(keys, "rope.scaling.type", fmt::format("yarn, as there is {}{}", keys.prefix(), key), Level::kInfo,
                   log);
      return "yarn";
    }
  if (keys.number("rope.scale_linear").value_or(1.0) != 1.0) return "linear";
  if (const double factor = keys.number("rope.scaling.factor").value_or(1.0); factor != 1.0 && factor != 0.0)
    throw keys
        .missing("rope.scaling.type",
                 fmt::format(" and a {}rope.scaling.factor of {:g}, which linear and yarn use differently",
                             keys.prefix(), factor))
        .with(Remedy::kSetKey);
  return "none";
}

void read_rope(const Keys& keys, ModelConfig& c, const Log& log) {
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

std::optional<GatingKind> gating_by_key(const Keys& keys) {
  switch (keys.integer_or("expert_gating_func", 0)) {
    case 0:
      return std::nullopt;
    case 1:
      return GatingKind::kSoftmax;
    case 2:
      return GatingKind::kSigmoid;
    case 3:
      return GatingKind::kSoftmaxSelected;
    default:
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}expert_gating_func {} (known: 1 softmax, 2 sigmoid, 3 softmax of the selected)",
                              keys.prefix(), keys.integer("expert_gating_func")));
  }
}

void read_groups(const Keys& keys, const TensorFacts& facts, const ConfigOptions& options, ModelConfig& c,
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

void read_experts(const Keys& keys, const TensorFacts& facts, const ConfigOptions& options, ModelConfig& c,
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

// block_count includes the layers of nextn_predict_layers, which files name or show.
void read_layer_count(const Keys& keys, const TensorFacts& facts, ModelConfig& c, const Log& log) {
  const auto n_mtp = keys.maybe("nextn_predict_layers");
  const std::int64_t block_count = keys.integer("block_count");
  if (n_mtp.value_or(0) < 0 || block_count < 1 || block_count > 1024 || n_mtp.value_or(0) >= block_count)
    throw Error(ErrorKind::kBadFile,
                fmt::format("block_count {} with nextn_predict_layers {}", block_count, n_mtp.value_or(0)));
  c.n_mtp_layers = n_mtp.value_or(0);
  if (!n_mtp) {
    while (c.n_mtp_layers < block_count - 1 && facts.is_mtp_layer(block_count - 1 - c.n_mtp_layers)) ++c.n_mtp_layers;
    if (c.n_mtp_layers > 0)
      log(Level::kInfo, fmt::format("the file has no {}nextn_predict_layers: {}, as blk.{}.{} shows", keys.prefix(),
                                    c.n_mtp_layers, block_count - 1, kGgufNames.mtp));
  }
  c.n_layers = block_count - c.n_mtp_layers;
  for (std::int64_t layer = c.n_layers; c.n_mtp_layers > 0 && layer < block_count + c.n_mtp_layers; ++layer)
    if (facts.is_mtp_layer(layer) != (layer < block_count) && (layer >= block_count || facts.has_ffn(layer)))
      throw Error(ErrorKind::kBadFile,
                  fmt::format("block_count is {} with {} multi-token-prediction layers in it, and blk.{} {} one "
                              "(nextn.eh_proj.weight)",
                              block_count, c.n_mtp_layers, layer, facts.is_mtp_layer(layer) ? "is" : "is not"));
}

// Where keys of the newer layout are missing, the widths of heads follow from the matrices.
void read_head_widths(const Keys& keys, const FindMatrix& find, ModelConfig& c, const Log& log) {
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

void read_vocabulary(const Metadata& metadata, const Keys& keys, const FindMatrix& find, ModelConfig& c,
                     const Log& log) {
  const auto embeddings = find("token_embd.weight");
  if (!embeddings) throw Error(ErrorKind::kBadFile, "the file has no matrix token_embd.weight: it holds no model");
  c.vocab_size = embeddings->n_out;
  if (const auto by_key = keys.maybe("vocab_size"); by_key && *by_key != c.vocab_size)
    log(Level::kInfo, fmt::format("{}vocab_size is {} and token_embd.weight has {} rows: the tensor decides",
                                  keys.prefix(), *by_key, c.vocab_size));
  const MetaValue* tokens = metadata.find("tokenizer.ggml.tokens");
  if (const auto* texts = tokens == nullptr ? nullptr : std::get_if<MetaArray<std::string>>(tokens);
      texts != nullptr && static_cast<std::int64_t>(texts->values.size()) > c.vocab_size)
    throw Error(ErrorKind::kBadFile, fmt::format("the vocabulary has {} tokens and token_embd.weight {} rows",
                                                 texts->values.size(), c.vocab_size));
  c.tied_embeddings = !find("output.weight");
  if (c.tied_embeddings) log(Level::kInfo, "the file has no output.weight: token_embd.weight is used for both");
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
      "DeepSeek-V3.2; glm-dsa, i.e. GLM-5 to 5.3";
  refuse_relative(*architecture, kSupported);
  if (*architecture != "deepseek2" && *architecture != "deepseek32" && *architecture != "glm-dsa")
    throw Error(ErrorKind::kUnsupported,
                fmt::format("architecture '{}' is not supported (supported: {})", *architecture, kSupported));
  const Keys keys(metadata, *architecture + ".");
  refuse_other_math(keys);
  std::map<std::string_view, const GgufTensor*> by_name;
  for (const GgufTensor& tensor : tensors) by_name.emplace(tensor.name, &tensor);
  const FindMatrix find = [&](std::string_view name) -> std::optional<MatrixSize> {
    const auto at = by_name.find(name);
    if (at == by_name.end()) return std::nullopt;
    const std::vector<std::int64_t>& dims = at->second->dims;
    return MatrixSize{dims[0], dims.size() > 1 ? dims[1] : 1};
  };
  const TensorFacts facts(kGgufNames, find, log);

  ModelConfig c;
  c.architecture = *architecture;
  c.name = metadata.string("general.name").value_or("");
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
