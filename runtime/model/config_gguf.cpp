// Hyper-parameters from GGUF metadata, architecture deepseek2. Keys: llama.cpp src/llama-arch.cpp and
// conversion/deepseek.py.
#include <algorithm>

#include "runtime/model/config.hpp"

namespace dodeca::runtime {
namespace {

const GgufTensor* find(const std::vector<GgufTensor>& tensors, std::string_view name) {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const GgufTensor& t) { return t.name == name; });
  return it == tensors.end() ? nullptr : &*it;
}

class Keys {
 public:
  Keys(const Metadata& metadata, std::string prefix) : metadata_(metadata), prefix_(std::move(prefix)) {}

  std::optional<std::int64_t> maybe(std::string_view key) const {
    const std::string full = prefix_ + std::string(key);
    // Per-layer arrays of equal numbers are written by some converters; the first layer speaks for all.
    const MetaValue* value = metadata_.find(full);
    if (value != nullptr &&
        (std::holds_alternative<Array<std::int32_t>>(*value) || std::holds_alternative<Array<std::uint32_t>>(*value))) {
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
    throw Error(ErrorKind::kBadFile, fmt::format("the file has no key {}{}", prefix_, key));
  }
  std::int64_t integer_or(std::string_view key, std::int64_t fallback) const { return maybe(key).value_or(fallback); }
  std::optional<double> number(std::string_view key) const { return metadata_.number(prefix_ + std::string(key)); }
  std::optional<bool> boolean(std::string_view key) const { return metadata_.boolean(prefix_ + std::string(key)); }
  std::optional<std::string> string(std::string_view key) const { return metadata_.string(prefix_ + std::string(key)); }
  const std::string& prefix() const { return prefix_; }

 private:
  const Metadata& metadata_;
  std::string prefix_;
};

void read_rope(const Keys& keys, ModelConfig& c, const Log& log) {
  c.rope.dim = keys.integer("rope.dimension_count");
  c.qk_rope_head_dim = c.rope.dim;
  c.rope.base = keys.number("rope.freq_base").value_or(10000.0);
  const std::string type = keys.string("rope.scaling.type").value_or("none");
  const double factor = keys.number("rope.scaling.factor").value_or(1.0);
  if (type == "yarn") {
    c.rope.yarn = true;
    c.rope.factor = factor;
    c.rope.original_context = keys.integer_or("rope.scaling.original_context_length", c.context_length);
    c.rope.beta_fast = keys.number("rope.scaling.yarn_beta_fast").value_or(32.0);
    c.rope.beta_slow = keys.number("rope.scaling.yarn_beta_slow").value_or(1.0);
    if (const auto multiplier = keys.number("rope.scaling.yarn_log_multiplier")) {
      c.rope.mscale_all_dim = *multiplier / 0.1;  // the file's value already contains YaRN's 0.1
    } else {
      log(Level::kWarning,
          fmt::format("the file has no {}rope.scaling.yarn_log_multiplier: attention is scaled without YaRN's factor",
                      keys.prefix()));
    }
  } else if (type == "linear" || type == "none") {
    c.rope.factor = type == "linear" ? factor : 1.0;
  } else {
    throw Error(ErrorKind::kUnsupported, fmt::format("rope scaling '{}' (known: none, linear, yarn)", type));
  }
}

void read_experts(const Keys& keys, bool has_bias, const ConfigOptions& options, ModelConfig& c, const Log& log) {
  c.n_routed_experts = keys.integer_or("expert_count", 0);
  if (c.n_routed_experts == 0) return;
  c.n_experts_per_tok = keys.integer("expert_used_count");
  c.n_shared_experts = keys.integer_or("expert_shared_count", 0);
  c.moe_intermediate_size = keys.integer("expert_feed_forward_length");
  const double scale = keys.number("expert_weights_scale").value_or(1.0);
  c.routed_scaling_factor = scale == 0.0 ? 1.0 : scale;  // llama.cpp: 0 means unscaled
  c.norm_topk_prob = keys.boolean("expert_weights_norm").value_or(false);
  switch (keys.integer_or("expert_gating_func", 0)) {
    case 0:
    case 1:
      c.gating = GatingKind::kSoftmax;
      break;
    case 2:
      c.gating = GatingKind::kSigmoid;
      break;
    case 3:
      c.gating = GatingKind::kSoftmaxSelected;
      break;
    default:
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}expert_gating_func {} (known: 1 softmax, 2 sigmoid, 3 softmax of the selected)",
                              keys.prefix(), keys.integer("expert_gating_func")));
  }
  c.group_score = c.gating == GatingKind::kSigmoid ? GroupScoreKind::kTop2Sum : GroupScoreKind::kMax;
  const auto groups = keys.maybe("expert_group_count");
  if (groups) {
    c.n_group = std::max<std::int64_t>(1, *groups);
    c.topk_group = c.n_group == 1 ? 1 : keys.integer("expert_group_used_count");
  } else if (c.n_routed_experts == 256 && c.gating == GatingKind::kSigmoid && has_bias && !options.plain_topk) {
    // Files made before converters wrote the group keys; the published V3 and R1 configurations have n_group 8,
    // topk_group 4.
    c.n_group = 8;
    c.topk_group = 4;
    log(Level::kInfo,
        "the file does not name its expert groups: 8 groups of which 4 are kept, as DeepSeek-V3 (--plain-topk: none)");
  }
}

}  // namespace

ModelConfig config_from_gguf(const Metadata& metadata, const std::vector<GgufTensor>& tensors,
                             const ConfigOptions& options, const Log& log) {
  const auto architecture = metadata.string("general.architecture");
  if (!architecture) throw Error(ErrorKind::kBadFile, "the file has no key general.architecture");
  if (const auto type = metadata.string("general.type"); type && *type != "model") {
    throw Error(ErrorKind::kUnsupported, fmt::format("the file is not a model (general.type is '{}')", *type));
  }
  if (architecture->starts_with("deepseek3") || *architecture == "deepseek_v32") {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("architecture '{}': DeepSeek-V3.2 needs sparse attention, which is not supported yet",
                            *architecture));
  }
  if (*architecture != "deepseek2") {
    throw Error(ErrorKind::kUnsupported, fmt::format("architecture '{}' is not supported (supported: deepseek2, i.e. "
                                                     "DeepSeek-V2, V2.5, V3, R1, V3.1 and Kimi-K2)",
                                                     *architecture));
  }
  const Keys keys(metadata, *architecture + ".");
  for (const char* key :
       {"attention.temperature_scale", "attention.temperature_length", "attention.indexer.head_count"}) {
    if (metadata.find(keys.prefix() + key) != nullptr) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("the model uses {}{}, which is not supported", keys.prefix(), key));
    }
  }
  ModelConfig c;
  c.architecture = *architecture;
  c.name = metadata.string("general.name").value_or("");
  c.hidden_size = keys.integer("embedding_length");
  c.n_mtp_layers = keys.integer_or("nextn_predict_layers", 0);
  const std::int64_t block_count = keys.integer("block_count");
  if (c.n_mtp_layers < 0 || block_count < 1 || block_count > 1024 || c.n_mtp_layers >= block_count) {
    throw Error(ErrorKind::kBadFile,
                fmt::format("block_count {} with nextn_predict_layers {}", block_count, c.n_mtp_layers));
  }
  c.n_layers = block_count - c.n_mtp_layers;
  c.context_length = keys.integer("context_length");
  c.rms_norm_eps = keys.number("attention.layer_norm_rms_epsilon").value_or(0.0);
  c.n_heads = keys.integer("attention.head_count");

  const GgufTensor* embeddings = find(tensors, "token_embd.weight");
  if (embeddings == nullptr || embeddings->dims.size() != 2)
    throw Error(ErrorKind::kBadFile, "the file has no matrix token_embd.weight: it holds no model");
  c.vocab_size = embeddings->dims[1];
  c.tied_embeddings = find(tensors, "output.weight") == nullptr;

  read_rope(keys, c, log);
  c.kv_lora_rank = keys.integer("attention.kv_lora_rank");
  // The tensors decide whether q is low-rank: some files carry the key without meaning it.
  if (const GgufTensor* q_a = find(tensors, "blk.0.attn_q_a.weight"); q_a != nullptr && q_a->dims.size() == 2)
    c.q_lora_rank = q_a->dims[1];
  // New layout: key_length is the width of a latent cache row, the per-head widths have keys of their own.
  const std::int64_t key_length =
      keys.maybe("attention.key_length_mla").value_or(keys.integer_or("attention.key_length", 0));
  c.qk_nope_head_dim = key_length - c.qk_rope_head_dim;
  c.v_head_dim = keys.maybe("attention.value_length_mla").value_or(keys.integer_or("attention.value_length", 0));

  c.intermediate_size = keys.integer("feed_forward_length");
  const std::int64_t n_dense = keys.integer_or("leading_dense_block_count", 0);
  const bool has_bias = std::any_of(tensors.begin(), tensors.end(), [](const GgufTensor& t) {
    return t.name.find("exp_probs_b") != std::string::npos;
  });
  read_experts(keys, has_bias, options, c, log);
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) {
    c.layers.push_back(
        {AttentionKind::kMla, layer < n_dense || c.n_routed_experts == 0 ? FfnKind::kDense : FfnKind::kMoe});
  }
  validate(c);
  return c;
}

}  // namespace dodeca::runtime
