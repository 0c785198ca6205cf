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

Macs AttentionWork::prompt_macs(std::int64_t n_tokens, std::int64_t depth, std::int64_t micro_batch) const {
  const auto n = static_cast<double>(n_tokens);
  Macs macs = prompt * (n * static_cast<double>(depth) + n * (n + 1) / 2);
  double decompressed = -n;
  for (std::int64_t done = 0; done < n_tokens; done += micro_batch)
    decompressed += static_cast<double>(depth + std::min(done + micro_batch, n_tokens));
  macs += decompress * decompressed;
  return macs;
}

AttentionWork attention_work(const ModelConfig& config, bool in_floats) {
  AttentionWork work;
  for (const LayerConfig& layer : config.layers) {
    const bool latent = layer.attention == AttentionKind::kMla;
    const auto add = [&](Macs& to, std::int64_t macs) {
      const auto n = static_cast<double>(config.n_heads * macs);
      to += in_floats ? Macs{.f32 = n} : Macs{.int8 = n};
    };
    if (latent) {
      const std::int64_t rank = config.kv_lora_rank, rope = config.qk_rope_head_dim, nope = config.qk_nope_head_dim;
      add(work.generated, 2 * rank + rope);
      add(work.prompt, nope + rope + config.v_head_dim);
      add(work.decompress, rank * (nope + config.v_head_dim));
    } else {
      add(work.generated, 2 * config.head_dim);
      add(work.prompt, 2 * config.head_dim);
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
