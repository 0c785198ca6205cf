#include "runtime/exec/input_sums.hpp"

namespace dodeca::runtime {
namespace {

InputSums::Layer make_layer(const ModelConfig& c, const LayerConfig& layer) {
  const bool moe = layer.ffn == FfnKind::kMoe, mla = layer.attention == AttentionKind::kMla;
  const std::int64_t dense = moe ? c.n_shared_experts * c.moe_intermediate_size : c.intermediate_size;
  const std::int64_t experts = moe ? c.n_routed_experts : 0;
  return {.attention = {c.hidden_size, 1},
          .q_b = {c.q_lora_rank, mla && c.q_lora_rank > 0 ? 1 : 0},
          .k_b = {c.qk_nope_head_dim, mla ? c.n_heads : 0},
          .v_b = {c.kv_lora_rank, mla ? c.n_heads : 0},
          .output = {c.n_heads * (mla ? c.v_head_dim : c.head_dim), 1},
          .feed_forward = {c.hidden_size, 1},
          .dense_down = {dense, dense > 0 ? 1 : 0},
          .experts = {c.hidden_size, experts},
          .experts_down = {c.moe_intermediate_size, experts}};
}

}  // namespace

void InputSums::Input::add(const cpu::Member& member, std::int64_t slice, const float* row) noexcept {
  const cpu::Range mine = member.part(n_in, 8);  // a cache line of sums has one owner
  double* out = sums.data() + slice * n_in;
  for (std::int64_t i = mine.begin; i < mine.end; ++i) out[i] += static_cast<double>(row[i]) * row[i];
  if (member.index == 0) counts[static_cast<std::size_t>(slice)] += 1.0;
}

InputSums::InputSums(const ModelConfig& c) : head(c.hidden_size, 1) {
  for (const LayerConfig& layer : c.layers) layers.push_back(make_layer(c, layer));
}

std::uint64_t InputSums::bytes_needed(const ModelConfig& c) {
  const std::int64_t per_layer = c.n_routed_experts * (c.hidden_size + c.moe_intermediate_size) +
                                 c.n_heads * (c.qk_nope_head_dim + c.kv_lora_rank + c.v_head_dim + c.head_dim) +
                                 2 * c.hidden_size + c.q_lora_rank + c.intermediate_size;
  return static_cast<std::uint64_t>(c.n_layers * per_layer) * sizeof(double);
}

}  // namespace dodeca::runtime
