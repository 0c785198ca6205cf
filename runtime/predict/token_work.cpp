#include "runtime/predict/token_work.hpp"

#include <algorithm>
#include <cmath>

namespace dodeca::runtime::predict {

double TokenWork::step_bytes(double experts_touched) const {
  return fixed_bytes + (n_experts > 0 ? routed_bytes * experts_touched / static_cast<double>(n_experts) : 0);
}

Macs TokenWork::prompt_macs(std::int64_t n_tokens, std::int64_t n_outputs) const {
  Macs macs = layers * static_cast<double>(n_tokens);
  macs += output * static_cast<double>(n_outputs);
  return macs;
}

Macs AttentionWork::generated_macs(double seen) const {
  const auto most = static_cast<double>(top_k);
  const bool sparse = top_k > 0 && seen > most;
  Macs macs = generated * (sparse ? most : seen);
  if (sparse) macs += index * seen;
  macs += windowed_generated * std::min(seen, static_cast<double>(window));
  return macs;
}

Macs AttentionWork::prompt_macs(std::int64_t n_tokens, std::int64_t depth, std::int64_t micro_batch) const {
  // Positions that n rows behind the depth see, together.
  const auto seen = [&](std::int64_t n) {
    return static_cast<double>(n) * static_cast<double>(depth) +
           static_cast<double>(n) * static_cast<double>(n + 1) / 2;
  };
  const std::int64_t n_dense = top_k == 0 ? n_tokens : std::clamp<std::int64_t>(top_k - depth, 0, n_tokens);
  Macs macs = prompt * seen(n_dense);
  macs += prompt * (static_cast<double>(n_tokens - n_dense) * static_cast<double>(top_k));
  macs += index * (seen(n_tokens) - seen(n_dense));
  double decompressed = -static_cast<double>(n_dense);
  for (std::int64_t done = 0; done < n_dense; done += micro_batch)
    decompressed += static_cast<double>(depth + std::min(done + micro_batch, n_dense));
  macs += decompress * decompressed;
  macs += windowed_prompt * std::min(seen(n_tokens), static_cast<double>(n_tokens * window));
  return macs;
}

AttentionWork attention_work(const ModelConfig& config, bool in_floats, bool in_bytes) {
  AttentionWork work;
  if (config.indexer.n_heads > 0) work.top_k = config.indexer.top_k;
  for (std::int64_t i = 0; i < std::ssize(config.layers); ++i) {
    const LayerConfig& layer = config.layers[i];
    if (config.chooses(i))
      (in_floats ? work.index.f32 : work.index.int8) +=
          static_cast<double>(config.indexer.n_heads * config.indexer.head_dim);
    const bool latent = layer.attention == AttentionKind::kMla;
    const auto add = [&](Macs& to, std::int64_t macs, bool floats) {
      const auto n = static_cast<double>(config.n_heads * macs);
      to += floats ? Macs{.f32 = n} : Macs{.int8 = n};
    };
    if (latent) {
      const std::int64_t rank = config.kv_lora_rank, rope = config.qk_rope_head_dim, nope = config.qk_nope_head_dim;
      add(work.generated, 2 * rank + rope, in_floats);
      add(work.prompt, nope + rope + config.v_head_dim, in_floats);
      add(work.decompress, rank * (nope + config.v_head_dim), in_floats);
    } else {
      const bool windowed = layer.window > 0;
      if (windowed) work.window = layer.window;
      add(windowed ? work.windowed_generated : work.generated, 2 * config.head_dim, in_floats || !in_bytes);
      add(windowed ? work.windowed_prompt : work.prompt, 2 * config.head_dim, in_floats);
    }
  }
  return work;
}

namespace {

template <class F>
TokenWork work_of(const Plan& plan, F&& counts) {
  TokenWork work{.n_experts = plan.config.n_routed_experts, .n_used = plan.config.n_experts_per_tok};
  for (const WeightPlan& weight : plan.weights) {
    if (weight.place == Place::kDevice || !counts(weight)) continue;  // limits are the processors'
    const bool routed = is_routed(weight.id.role);
    if (routed)
      work.routed_bytes += static_cast<double>(weight.bytes);
    else
      work.fixed_bytes += weight.bytes_per_token;
    if (weight.layout == nullptr) continue;  // vectors, and embeddings that are looked up
    const double share = routed ? static_cast<double>(work.n_used) / static_cast<double>(work.n_experts) : 1;
    const double n = static_cast<double>(weight.n_in * weight.n_out * weight.n_slices) * share;
    const bool floats = weight.layout->act == cpu::ActFormat::kF32;
    Macs& target = weight.id.layer != kNoLayer ? work.layers : work.output;
    target += floats ? Macs{.f32 = n} : Macs{.int8 = n};
  }
  return work;
}

}  // namespace

TokenWork token_work(const Plan& plan) {
  return work_of(plan, [&](const WeightPlan& w) { return w.id.layer < plan.config.n_layers; });
}

TokenWork draft_work(const Plan& plan) {
  const bool own_output =
      std::ranges::any_of(plan.weights, [](const WeightPlan& w) { return w.id.role == WeightRole::kMtpOutput; });
  const WeightRole output = plan.config.tied_embeddings ? WeightRole::kEmbedding : WeightRole::kOutput;
  return work_of(plan, [&](const WeightPlan& w) {
    return w.id.layer == plan.config.n_layers || (!own_output && w.id.role == output);
  });
}

double expected_experts(std::int64_t n_experts, std::int64_t n_used, std::int64_t n_rows) {
  if (n_experts == 0) return 0;
  const auto all = static_cast<double>(n_experts);
  return all * (1 - std::pow(1 - static_cast<double>(n_used) / all, static_cast<double>(n_rows)));
}

}  // namespace dodeca::runtime::predict
