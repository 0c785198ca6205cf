// The keys of architectures with grouped queries, as llama.cpp's converter gives them.
#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/quantize/metadata_keys.hpp"

namespace dodeca::runtime::quantize {

void set_experts(MetadataKeys& keys, const ModelConfig& c) {
  constexpr std::uint32_t kGatingSoftmax = 1, kGatingSigmoid = 2, kGatingSoftmaxSelected = 3;
  keys.integer("expert_count", c.n_routed_experts);
  keys.integer("expert_used_count", c.n_experts_per_tok);
  keys.integer("expert_group_count", c.n_group);
  keys.integer("expert_group_used_count", c.topk_group);
  keys.set("expert_gating_func", c.gating == GatingKind::kSigmoid   ? kGatingSigmoid
                                 : c.gating == GatingKind::kSoftmax ? kGatingSoftmax
                                                                    : kGatingSoftmaxSelected);
}

std::int64_t leading_dense_layers(const ModelConfig& c) {
  std::int64_t n = 0;
  while (n < c.n_layers && c.layers[n].ffn == FfnKind::kDense) ++n;
  for (std::int64_t layer = n; layer < c.n_layers; ++layer)
    if (c.layers[layer].ffn == FfnKind::kDense)
      throw Error(
          ErrorKind::kUnsupported,
          fmt::format("layer {} is dense and layer {} has experts (moe_layer_freq above 1): GGUF has no key for that",
                      layer, n));
  return n;
}

namespace {

void need(bool ok, const ModelConfig& c, std::string_view what) {
  if (!ok)
    throw Error(ErrorKind::kUnsupported,
                fmt::format("{}, which a GGUF file of architecture {} cannot say; the directory "
                            "itself can be run",
                            what, c.architecture));
}

void set_grouped_rope(MetadataKeys& keys, const ModelConfig& c) {
  keys.integer("rope.dimension_count", c.rope.dim);
  keys.real("rope.freq_base", c.rope.base);
  if (!c.rope.yarn) {
    if (c.rope.factor == 1.0) return;
    keys.set("rope.scaling.type", std::string("linear"));
    return keys.real("rope.scaling.factor", c.rope.factor);
  }
  const bool gpt_oss = c.architecture == "gpt-oss";
  need(c.rope.whole_bounds != gpt_oss, c,
       fmt::format("rope_scaling has truncate {}", c.rope.whole_bounds ? "true" : "false"));
  keys.set("rope.scaling.type", std::string("yarn"));
  keys.real("rope.scaling.factor", c.rope.factor);
  keys.integer("rope.scaling.original_context_length", c.rope.original_context);
  keys.real("rope.scaling.yarn_beta_fast", c.rope.beta_fast);
  keys.real("rope.scaling.yarn_beta_slow", c.rope.beta_slow);
  // Readers multiply cos and sin with this as well.
  const double usual = c.rope.factor > 1.0 ? 1.0 + 0.1 * std::log(c.rope.factor) : 1.0;
  if (std::abs(c.rope.magnitude / usual - 1.0) > 1e-6) keys.real("rope.scaling.attn_factor", c.rope.magnitude / usual);
}

// Every second layer from the first on is what readers expect of gpt-oss.
void set_windows(MetadataKeys& keys, const ModelConfig& c) {
  std::int64_t window = 0;
  bool by_turns = true;
  MetaArray<bool> windowed;
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) {
    const std::int64_t own = c.layers[layer].window;
    need(own == 0 || window == 0 || own == window, c, fmt::format("windows of {} and {} positions", window, own));
    window = std::max(window, own);
    by_turns = by_turns && (own > 0) == (layer % 2 == 0);
    windowed.values.push_back(own > 0);
  }
  need(window == 0 || c.architecture == "gpt-oss", c, fmt::format("layers see {} positions", window));
  if (c.architecture != "gpt-oss") return;
  keys.integer("attention.sliding_window", window);
  if (window > 0 && !by_turns) keys.set("attention.sliding_window_pattern", std::move(windowed));
}

void set_grouped_experts(MetadataKeys& keys, const ModelConfig& c) {
  const std::string& a = c.architecture;
  keys.integer("expert_count", c.n_routed_experts);
  keys.integer("expert_used_count", c.n_experts_per_tok);
  if (a != "glm4moe")
    need(c.norm_topk_prob, c, "the chosen experts' weights are not normalized (norm_topk_prob false)");
  if (a != "glm4moe") need(c.routed_scaling_factor == 1.0, c, "the experts' weights are scaled");
  if (a == "llama") return;
  keys.integer("expert_feed_forward_length", c.moe_intermediate_size);
  if (a == "minimax-m2" || a == "glm4moe") set_experts(keys, c);
  if (a != "glm4moe") return;
  keys.integer("leading_dense_block_count", leading_dense_layers(c));
  keys.integer("expert_shared_count", c.n_shared_experts);
  keys.real("expert_weights_scale", c.routed_scaling_factor);
  keys.set("expert_weights_norm", c.norm_topk_prob);
}

}  // namespace

void set_grouped(MetadataKeys& keys, const ModelConfig& c) {
  keys.integer("attention.head_count_kv", c.n_kv_heads);
  keys.integer("attention.key_length", c.head_dim);
  keys.integer("attention.value_length", c.head_dim);
  set_grouped_rope(keys, c);
  set_windows(keys, c);
  if (c.n_routed_experts == 0) return;
  if (c.architecture != "glm4moe") need(leading_dense_layers(c) == 0, c, "some layers are dense");
  set_grouped_experts(keys, c);
}

}  // namespace dodeca::runtime::quantize
