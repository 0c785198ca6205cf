#include "runtime/model/config.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "cpu/kernels/index/index.hpp"

namespace dodeca::runtime {
namespace {

// YaRN paper (Peng et al. 2023), section 3.2: the dimension whose wavelength turns `rotations` times in the original
// context.
double correction_dim(double rotations, const RopeConfig& rope) {
  return static_cast<double>(rope.dim) *
         std::log(static_cast<double>(rope.original_context) / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(rope.base));
}

void require(bool ok, std::string_view what, double have, std::string_view limits) {
  if (!ok) {
    throw Error(ErrorKind::kBadFile, fmt::format("model configuration: {} is {:g}, must be {}", what, have, limits));
  }
}

void require_range(std::string_view what, std::int64_t have, std::int64_t low, std::int64_t high) {
  require(have >= low && have <= high, what, static_cast<double>(have), fmt::format("{} to {}", low, high));
}

void require_finite(std::string_view what, double have, double low, double high) {
  require(std::isfinite(have) && have >= low && have <= high, what, have, fmt::format("{:g} to {:g}", low, high));
}

}  // namespace

std::int64_t ModelConfig::cache_row_width(AttentionKind kind) const {
  return kind == AttentionKind::kMla ? kv_lora_rank + qk_rope_head_dim : 2 * n_kv_heads * head_dim;
}

double ModelConfig::softmax_scale(AttentionKind kind) const {
  const double dim = static_cast<double>(kind == AttentionKind::kMla ? qk_nope_head_dim + qk_rope_head_dim : head_dim);
  // DeepSeek-V3 inference/model.py: the score is scaled by mscale squared, because q and k would each carry one factor.
  const double mscale = rope.yarn && rope.factor > 1.0 ? 1.0 + 0.1 * rope.mscale_all_dim * std::log(rope.factor) : 1.0;
  return mscale * mscale / std::sqrt(dim);
}

std::vector<double> ModelConfig::inv_freq() const {
  const std::int64_t pairs = rope.dim / 2;
  std::vector<double> result(static_cast<std::size_t>(pairs));
  double low = rope.yarn ? correction_dim(rope.beta_fast, rope) : 0.0,
         high = rope.yarn ? correction_dim(rope.beta_slow, rope) : 0.0;
  if (rope.whole_bounds) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(0.0, low);
  high = std::min(static_cast<double>(rope.dim - 1), high);
  for (std::int64_t i = 0; i < pairs; ++i) {
    const double theta = std::pow(rope.base, -2.0 * static_cast<double>(i) / static_cast<double>(rope.dim));
    if (rope.yarn) {
      const double ramp = std::clamp((static_cast<double>(i) - low) / std::max(0.001, high - low), 0.0, 1.0);
      result[i] = theta / rope.factor * ramp + theta * (1.0 - ramp);
    } else {
      result[i] = theta / rope.factor;
    }
    if (!rope.factors.empty()) result[i] /= rope.factors[i];
  }
  return result;
}

void validate(const ModelConfig& c) {
  constexpr std::int64_t kMaxDim = 1 << 20;
  require_range("number of layers", c.n_layers, 1, 512);
  require_range("multi-token-prediction layers", c.n_mtp_layers, 0, 64);
  require_range("hidden size", c.hidden_size, 1, kMaxDim);
  require_range("vocabulary size", c.vocab_size, 1, 1 << 24);
  require_range("context length", c.context_length, 1, std::int64_t{1} << 31);
  require_range("number of attention heads", c.n_heads, 1, 4096);
  require_finite("RMS norm epsilon", c.rms_norm_eps, 1e-30, 1.0);
  require_finite("rope base", c.rope.base, 1.0 + 1e-9, 1e12);
  require_finite("rope scaling factor", c.rope.factor, 1e-3, 1e6);
  require_finite("rope magnitude", c.rope.magnitude, 1e-3, 1e3);
  require_range("rope dimensions", c.rope.dim, 2, kMaxDim);
  require(c.rope.dim % 2 == 0, "rope dimensions", static_cast<double>(c.rope.dim), "even");
  if (c.rope.yarn) {
    require_range("rope original context length", c.rope.original_context, 1, std::int64_t{1} << 31);
    require_finite("YaRN beta_fast", c.rope.beta_fast, 1e-6, 1e6);
    require_finite("YaRN beta_slow", c.rope.beta_slow, 1e-6, 1e6);
    require_finite("YaRN mscale", c.rope.mscale_all_dim, -100.0, 100.0);
  }
  if (!c.rope.factors.empty()) {
    require_range("number of rope factors", std::ssize(c.rope.factors), c.rope.dim / 2, c.rope.dim / 2);
    for (const double factor : c.rope.factors) require_finite("a rope factor", factor, 1e-6, 1e9);
  }
  bool mla = false, gqa = false, dense = false, moe = false;
  for (const LayerConfig& layer : c.layers) {
    (layer.attention == AttentionKind::kMla ? mla : gqa) = true;
    (layer.ffn == FfnKind::kDense ? dense : moe) = true;
  }
  require_range("number of described layers", static_cast<std::int64_t>(c.layers.size()), c.n_layers, c.n_layers);
  if (mla) {
    require(c.rope.pairing == RopePairing::kInterleaved, "rope pairing by halves", 1, "0 with latent attention");
    require_range("kv_lora_rank", c.kv_lora_rank, 1, kMaxDim);
    require_range("q_lora_rank", c.q_lora_rank, 0, kMaxDim);
    require_range("qk_nope_head_dim", c.qk_nope_head_dim, 1, 65536);
    require_range("qk_rope_head_dim", c.qk_rope_head_dim, 2, 65536);
    require_range("v_head_dim", c.v_head_dim, 1, 65536);
  }
  if (gqa) {
    require_range("number of key-value heads", c.n_kv_heads, 1, c.n_heads);
    require(c.n_heads % c.n_kv_heads == 0, "number of key-value heads", static_cast<double>(c.n_kv_heads),
            "a divisor of the heads");
    require_range("head dimension", c.head_dim, 2, 65536);
    require_range("rope dimensions", c.rope.dim, 2, c.head_dim);
    for (const LayerConfig& layer : c.layers) require_range("attention window", layer.window, 0, std::int64_t{1} << 31);
  }
  if (c.indexer.n_heads != 0) {
    require(mla && !gqa && c.q_lora_rank > 0, "heads of an indexer", static_cast<double>(c.indexer.n_heads),
            "0 without latent attention and a latent of queries");
    require_range("heads of the indexer", c.indexer.n_heads, 1, 1024);
    require_range("head dimension of the indexer", c.indexer.head_dim, c.rope.dim, cpu::kMostIndexDim);
    require(c.indexer.head_dim % 2 == 0, "head dimension of the indexer", static_cast<double>(c.indexer.head_dim),
            "even");
    require_range("positions that the indexer chooses", c.indexer.top_k, 1, 1 << 20);
    require(c.layers.front().has_indexer, "indexers of layer 0", 0, "1");
  }
  if (dense) require_range("feed-forward width", c.intermediate_size, 1, 1 << 22);
  if (moe) {
    require_range("number of routed experts", c.n_routed_experts, 1, 512);
    require_range("experts per token", c.n_experts_per_tok, 1, c.n_routed_experts);
    require_range("shared experts", c.n_shared_experts, 0, 64);
    require_range("expert width", c.moe_intermediate_size, 1, 1 << 20);
    require_range("expert groups", c.n_group, 1, std::min<std::int64_t>(c.n_routed_experts, 256));
    require(c.n_routed_experts % c.n_group == 0, "expert groups", static_cast<double>(c.n_group),
            "a divisor of the experts");
    require_range("expert groups kept", c.topk_group, 1, c.n_group);
    require_range("experts per token", c.n_experts_per_tok, 1, c.topk_group * (c.n_routed_experts / c.n_group));
    if (c.group_score == GroupScoreKind::kTop2Sum && c.n_group > 1) {
      require_range("experts per group", c.n_routed_experts / c.n_group, 2, c.n_routed_experts);
    }
    require_finite("expert weight scale", c.routed_scaling_factor, 1e-6, 1e6);
  }
}

std::int64_t short_prompt_rows(const ModelConfig& config) {
  // Multiplications for a position and a head: once for all rows, and for each row in either form.
  const std::int64_t latent = config.kv_lora_rank, rope = config.qk_rope_head_dim, key = config.qk_nope_head_dim,
                     value = config.v_head_dim;
  const std::int64_t decompressing = latent * (key + value), absorbed = (latent + rope) + latent,
                     decompressed = (key + rope) + value;
  return absorbed > decompressed ? decompressing / (absorbed - decompressed) : 0;
}

}  // namespace dodeca::runtime
