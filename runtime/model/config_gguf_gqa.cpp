// Hyper-parameters from GGUF metadata of the architectures with grouped queries: qwen3moe, glm4moe, minimax-m2, gpt-oss
// and llama (Mixtral too). Keys and defaults: llama.cpp src/llama-arch.cpp and src/models.
#include <algorithm>
#include <cmath>

#include "runtime/model/gguf_keys.hpp"

namespace dodeca::runtime {
namespace {

// What the architecture says and no key does.
struct Family {
  std::string_view name;
  RopePairing pairing;
  GatingKind gating;       // where no key and no selection bias tells
  bool always_normalizes;  // the chosen experts' weights, whatever the key says
  QkNorm qk_norm;          // where there are such tensors
};
constexpr Family kFamilies[] = {
    {"qwen3moe", RopePairing::kHalves, GatingKind::kSoftmax, true, QkNorm::kPerHead},
    {"glm4moe", RopePairing::kHalves, GatingKind::kSigmoid, false, QkNorm::kPerHead},
    {"minimax-m2", RopePairing::kHalves, GatingKind::kSoftmax, true, QkNorm::kWhole},
    {"gpt-oss", RopePairing::kHalves, GatingKind::kSoftmaxSelected, true, QkNorm::kNone},
    {"llama", RopePairing::kInterleaved, GatingKind::kSoftmax, true, QkNorm::kNone},
};

const Family* find_family(std::string_view architecture) {
  const auto* found = std::ranges::find(kFamilies, architecture, &Family::name);
  return found == std::end(kFamilies) ? nullptr : found;
}

bool is_gpt_oss(const ModelConfig& c) { return c.architecture == "gpt-oss"; }

void read_heads(const GgufKeys& keys, const Family& family, const FindMatrix& find, ModelConfig& c) {
  c.n_heads = keys.integer("attention.head_count");
  c.n_kv_heads = keys.integer_or("attention.head_count_kv", c.n_heads);
  const auto width = keys.maybe("attention.key_length");
  c.head_dim = width ? *width : c.n_heads > 0 ? c.hidden_size / c.n_heads : 0;
  if (const std::int64_t values = keys.integer_or("attention.value_length", c.head_dim); values != c.head_dim)
    throw Error(ErrorKind::kUnsupported,
                fmt::format("{}attention.key_length is {} and value_length {}: different ones are not supported",
                            keys.prefix(), c.head_dim, values));
  c.attention_bias = find("blk.0.attn_q.bias") || find("blk.0.attn_qkv.bias");
  c.output_bias = find("blk.0.attn_output.bias").has_value();
  if (find("blk.0.attn_q_norm.weight")) c.qk_norm = family.qk_norm;
  c.attention_sinks = is_gpt_oss(c);
}

void read_rope(const GgufKeys& keys, const Family& family, ModelConfig& c, const Log& log) {
  c.rope.pairing = family.pairing;
  c.rope.dim = keys.integer_or("rope.dimension_count", c.head_dim);
  if (!keys.has("rope.freq_base")) tell_default(keys, "rope.freq_base", "10000", Level::kInfo, log);
  c.rope.base = keys.number("rope.freq_base").value_or(10000.0);
  if (const double other = keys.number("rope.freq_base_swa").value_or(c.rope.base); other != c.rope.base)
    throw Error(ErrorKind::kUnsupported, fmt::format("{}rope.freq_base_swa is {:g} and freq_base {:g}: different ones "
                                                     "are not supported",
                                                     keys.prefix(), other, c.rope.base));
  const auto refuse_other = [&](const char* key, std::initializer_list<double> known) {
    const auto value = keys.number(key);
    if (value && std::ranges::find(known, *value) == known.end())
      throw Error(ErrorKind::kUnsupported, fmt::format("{}{} is {:g}, which is not supported (known: {:g})",
                                                       keys.prefix(), key, *value, *known.begin()));
  };
  refuse_other("rope.dimension_count_swa", {static_cast<double>(c.rope.dim)});
  refuse_other("attention.key_length_swa", {static_cast<double>(c.head_dim)});
  refuse_other("attention.value_length_swa", {static_cast<double>(c.head_dim)});
  refuse_other("rope.scaling.yarn_ext_factor", {1.0, -1.0});
  refuse_other("rope.scaling.yarn_attn_factor", {1.0});
  const std::string type = scaling_type(keys, log);
  if (type == "yarn") {
    c.rope.yarn = true;
    c.rope.factor = keys.needed_number("rope.scaling.factor");
    c.rope.original_context = keys.integer_or("rope.scaling.original_context_length", c.context_length);
    c.rope.beta_fast = keys.number("rope.scaling.yarn_beta_fast").value_or(32.0);
    c.rope.beta_slow = keys.number("rope.scaling.yarn_beta_slow").value_or(1.0);
    const double given = keys.number("rope.scaling.attn_factor").value_or(1.0);
    c.rope.magnitude = given * (c.rope.factor > 1.0 ? 1.0 + 0.1 * std::log(c.rope.factor) : 1.0);
    c.rope.whole_bounds = !is_gpt_oss(c);  // it was trained without; GGUF has no key for that
  } else if (type == "linear") {
    c.rope.factor = keys.number("rope.scaling.factor").value_or(keys.number("rope.scale_linear").value_or(1.0));
  } else if (type != "none") {
    throw Error(ErrorKind::kUnsupported, fmt::format("rope scaling '{}' (known: none, linear, yarn)", type));
  }
}

std::int64_t expert_width(const GgufKeys& keys, const FindMatrix& find, const ModelConfig& c) {
  if (const auto width = keys.maybe("expert_feed_forward_length")) return *width;
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) {
    if (const auto gate = find(fmt::format("blk.{}.ffn_gate_exps.weight", layer))) return gate->n_out;
  }
  if (c.architecture == "qwen3moe") return c.intermediate_size / c.n_experts_per_tok;
  return keys.integer("feed_forward_length");
}

void read_experts(const GgufKeys& keys, const Family& family, const TensorFacts& facts, const FindMatrix& find,
                  ModelConfig& c, const Log& log) {
  facts.set_expert_count(keys.maybe("expert_count"), c);
  if (c.n_routed_experts == 0) return;
  c.n_experts_per_tok = keys.integer("expert_used_count");
  if (c.n_experts_per_tok < 1)
    throw Error(ErrorKind::kBadFile, fmt::format("{}expert_used_count is {}", keys.prefix(), c.n_experts_per_tok));
  c.moe_intermediate_size = expert_width(keys, find, c);
  facts.set_shared_count(keys.maybe("expert_shared_count"), c);
  c.gating = facts.gating(gating_by_key(keys), family.gating, keys.prefix() + "expert_gating_func", c);
  const double scale = keys.number("expert_weights_scale").value_or(0.0);
  c.routed_scaling_factor = scale == 0.0 ? 1.0 : scale;  // llama.cpp: 0 means unscaled
  const auto norm = keys.boolean("expert_weights_norm");
  if (!norm && !family.always_normalizes)
    tell_default(keys, "expert_weights_norm",
                 "false, so experts' weights are not normalized, unlike every published model of this architecture",
                 Level::kWarning, log);
  c.norm_topk_prob = family.always_normalizes || norm.value_or(false);
  c.n_group = std::max<std::int64_t>(1, keys.integer_or("expert_group_count", 1));
  c.topk_group = c.n_group == 1 ? 1 : keys.integer("expert_group_used_count");
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) {
    c.router_bias = c.router_bias || find(fmt::format("blk.{}.ffn_gate_inp.bias", layer));
    c.expert_bias = c.expert_bias || find(fmt::format("blk.{}.ffn_down_exps.bias", layer));
  }
}

// A period p: of p layers the last one sees all positions; or a flag for every layer.
std::vector<bool> windowed_layers(const GgufKeys& keys, std::int64_t n_layers) {
  constexpr std::string_view kPattern = "attention.sliding_window_pattern";
  if (const auto flags = keys.flags(kPattern)) {
    if (std::ssize(*flags) < n_layers)
      throw Error(ErrorKind::kBadFile, fmt::format("{}{} is about {} layers, and there are {}", keys.prefix(), kPattern,
                                                   flags->size(), n_layers));
    return *flags;
  }
  const std::int64_t period = keys.integer_or(kPattern, 2);
  if (period < 0) throw Error(ErrorKind::kBadFile, fmt::format("{}{} is {}", keys.prefix(), kPattern, period));
  std::vector<bool> windowed;
  for (std::int64_t layer = 0; layer < n_layers; ++layer)
    windowed.push_back(period == 0 || layer % period < period - 1);
  return windowed;
}

void read_windows(const GgufKeys& keys, ModelConfig& c) {
  if (!is_gpt_oss(c)) {
    if (!keys.neutral("attention.sliding_window"))
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("the model uses {}attention.sliding_window, which is not supported", keys.prefix()));
    return;
  }
  const std::int64_t window = keys.integer("attention.sliding_window");
  if (window == 0) return;
  const std::vector<bool> windowed = windowed_layers(keys, c.n_layers);
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) c.layers[layer].window = windowed[layer] ? window : 0;
}

}  // namespace

bool has_grouped_queries(std::string_view architecture) { return find_family(architecture) != nullptr; }

void read_grouped(const Metadata& metadata, const GgufKeys& keys, const FindMatrix& find, ModelConfig& c,
                  const Log& log) {
  const Family& family = *find_family(c.architecture);
  const TensorFacts facts(kGgufNames, find, log);
  c.hidden_size = keys.integer("embedding_length");
  read_layer_count(keys, facts, c, log);
  c.context_length = keys.integer("context_length");
  c.rms_norm_eps = keys.needed_number("attention.layer_norm_rms_epsilon");
  read_vocabulary(metadata, keys, find, c, log);
  read_heads(keys, family, find, c);
  read_rope(keys, family, c, log);
  if (keys.has("rope.dimension_sections"))
    log(Level::kInfo, "positions in several dimensions (rope.dimension_sections) are for images: text has one");
  c.intermediate_size = keys.integer_or("feed_forward_length", 0);
  read_experts(keys, family, facts, find, c, log);
  if (is_gpt_oss(c)) c.activation = ActivationKind::kClampedSwiGlu;
  const auto n_dense = keys.maybe("leading_dense_block_count");
  facts.set_layers(
      n_dense ? [n = *n_dense](std::int64_t layer) { return layer >= n; } : std::function<bool(std::int64_t)>(), c);
  for (LayerConfig& layer : c.layers) layer.attention = AttentionKind::kGqa;
  read_windows(keys, c);
}

}  // namespace dodeca::runtime
