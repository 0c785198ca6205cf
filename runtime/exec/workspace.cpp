#include "runtime/exec/workspace.hpp"

#include <algorithm>
#include <array>

#include "cpu/kernels/attention/attention.hpp"
#include "runtime/exec/attention_absorbed.hpp"
#include "runtime/exec/attention_decompressed.hpp"

namespace dodeca::runtime {
namespace {

// Every packed weight of a layer, for sizes and formats.
template <class F>
void for_each_matrix(const LayerWeights& w, F&& f) {
  for (const PackedMatrix* m : {&w.q, &w.q_a, &w.q_b, &w.kv_a, &w.k_b, &w.v_b, &w.k, &w.v, &w.output, &w.router}) f(*m);
  for (const auto* parts : {&w.experts, &w.dense}) {
    for (const FfnPart& part : *parts) {
      f(part.gate);
      f(part.up);
      f(part.down);
    }
  }
}

// Every part has rows of its own in h, because a part's columns must start on a whole block of the activation format.
std::int64_t ffn_width(const std::vector<FfnPart>& parts) {
  std::int64_t width = 0;
  for (const FfnPart& part : parts) width = std::max(width, part.columns.size());
  return width;
}

struct Sizes {
  std::int64_t n_experts = 0, n_slots = 0, experts_width = 0, dense_width = 0, n_parts = 1;
  std::size_t matmul = 0, head_acts = 0;
};

Sizes sizes_of(const Weights& weights, std::int64_t micro_batch) {
  const ModelConfig& c = weights.config;
  Sizes s{.n_experts = c.n_routed_experts, .n_slots = micro_batch * c.n_experts_per_tok};
  s.matmul = multiply_scratch_bytes(weights.output);
  for (const LayerWeights& layer : weights.layers) {
    for_each_matrix(layer, [&](const PackedMatrix& m) { s.matmul = std::max(s.matmul, multiply_scratch_bytes(m)); });
    s.experts_width = std::max(s.experts_width, ffn_width(layer.experts));
    s.dense_width = std::max(s.dense_width, ffn_width(layer.dense));
    s.n_parts = std::max<std::int64_t>(
        {s.n_parts, static_cast<std::int64_t>(layer.experts.size()), static_cast<std::int64_t>(layer.dense.size())});
    for (const PackedMatrix* m : {&layer.k_b, &layer.v_b}) {
      if (*m)
        s.head_acts = std::max(s.head_acts, kHeadRows * std::max(cpu::act_row_bytes(m->layout->act, m->n_in),
                                                                 cpu::act_row_bytes(cpu::ActFormat::kF32, m->n_in)));
    }
  }
  return s;
}

std::int64_t chunks_for(std::int64_t n_positions, std::int32_t n_sequences) {
  return n_positions / kContextChunk + n_sequences + 64;
}

std::size_t partial_floats(const ModelConfig& c) { return static_cast<std::size_t>(c.n_heads * (2 + c.kv_lora_rank)); }

std::size_t tiles_bytes(std::int64_t micro_batch) {
  const std::int64_t n_tiles = std::max(2 * kFfnTiles, kDownTiles), n_slots = std::min(micro_batch, kSlotPiece);
  return static_cast<std::size_t>(n_slots * n_tiles * cpu::kTileRows) * sizeof(float);
}

std::size_t attention_bytes(const ModelConfig& c, std::int64_t micro_batch) {
  if (c.kv_lora_rank > 0) return std::max(absorbed_scratch_bytes(c), decompressed_scratch_bytes(c, micro_batch));
  const std::int64_t width = 2 * c.head_dim, group = c.n_heads / c.n_kv_heads;  // as attention_gqa.cpp lays them out
  return sizeof(float) * static_cast<std::size_t>(cpu::kContextBlock * (c.n_kv_heads + 1) * width +
                                                  group * (width + cpu::kContextBlock + 2 + c.head_dim));
}

}  // namespace

Workspace::Workspace(const Weights& weights, std::int64_t m, std::int64_t n_positions, std::int32_t n_sequences)
    : micro_batch(m) {
  const ModelConfig& c = weights.config;
  const Sizes s = sizes_of(weights, m);
  const bool mla = c.kv_lora_rank > 0;
  const auto z = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  x = Activations(m, c.hidden_size);
  normed = Activations(m, c.hidden_size);
  q_a = Activations(m, c.q_lora_rank);
  kv = Activations(m, mla ? c.kv_lora_rank + c.qk_rope_head_dim : 2 * c.n_kv_heads * c.head_dim);
  q = Activations(m, c.n_heads * (mla ? c.qk_nope_head_dim + c.qk_rope_head_dim : c.head_dim));
  q_absorbed = Activations(mla ? m : 0, c.n_heads * (c.kv_lora_rank + c.qk_rope_head_dim));
  latent = Activations(mla ? m : 0, c.n_heads * c.kv_lora_rank);
  heads = Activations(m, c.n_heads * (mla ? c.v_head_dim : c.head_dim));
  logits = Activations(s.n_experts > 0 ? m : 0, s.n_experts);
  h_experts = Activations(s.n_slots * s.n_parts, s.experts_width);
  h_dense = Activations(m * s.n_parts, s.dense_width);
  normed.wanted_by(weights.output);
  for (const LayerWeights& layer : weights.layers) {
    for (const PackedMatrix* w : {&layer.q, &layer.q_a, &layer.kv_a, &layer.k, &layer.v, &layer.router})
      normed.wanted_by(*w);
    q_a.wanted_by(layer.q_b);
    heads.wanted_by(layer.output);
    for (const FfnPart& part : layer.experts) {
      normed.wanted_by(part.gate);
      normed.wanted_by(part.up);
      h_experts.wanted_by(part.down);
    }
    for (const FfnPart& part : layer.dense) {
      normed.wanted_by(part.gate);
      normed.wanted_by(part.up);
      h_dense.wanted_by(part.down);
    }
  }
  for (Activations* a : {&x, &normed, &q_a, &kv, &q, &q_absorbed, &latent, &heads, &logits, &h_experts, &h_dense})
    a->allocate();
  angles.resize(z(m * c.rope.dim));
  route_scratch.resize(z(m * 2 * s.n_experts));
  expert_ids.resize(z(s.n_slots));
  expert_weights.resize(z(s.n_slots));
  slot_row.resize(z(s.n_slots));
  slot_weight.resize(z(s.n_slots));
  expert_begin.resize(z(s.n_experts + 1));
  max_partials = mla ? chunks_for(n_positions, n_sequences) : 0;
  partials = cpu::Buffer(z(max_partials) * partial_floats(c) * sizeof(float));
}

void Workspace::ensure_threads(const Weights& weights, int n_threads) {
  if (static_cast<int>(threads.size()) >= n_threads) return;
  const Sizes s = sizes_of(weights, micro_batch);
  while (static_cast<int>(threads.size()) < n_threads) {
    ThreadSpace space;
    space.matmul = cpu::Buffer(s.matmul);
    space.tiles = cpu::Buffer(tiles_bytes(micro_batch));
    space.acts = cpu::Buffer(s.head_acts);
    space.attention = cpu::Buffer(attention_bytes(weights.config, micro_batch));
    threads.push_back(std::move(space));
  }
}

std::uint64_t Workspace::bytes_needed(const ModelConfig& c, std::int64_t m, std::int64_t n_positions,
                                      std::int32_t n_sequences, int n_threads) {
  const std::int64_t dense_width = std::max(c.intermediate_size, c.n_shared_experts * c.moe_intermediate_size);
  const std::int64_t widths[] = {2 * c.hidden_size,
                                 c.q_lora_rank,
                                 c.kv_lora_rank + c.qk_rope_head_dim + 2 * c.n_kv_heads * c.head_dim,
                                 c.n_heads * (c.qk_nope_head_dim + c.qk_rope_head_dim + c.head_dim),
                                 c.n_heads * (2 * c.kv_lora_rank + c.qk_rope_head_dim + c.v_head_dim),
                                 3 * c.n_routed_experts,
                                 dense_width};
  std::uint64_t per_row = 0;
  for (const std::int64_t width : widths) per_row += Activations::bytes_per_row(width);
  per_row += static_cast<std::uint64_t>(c.n_experts_per_tok) * Activations::bytes_per_row(c.moe_intermediate_size);
  const std::int64_t longest =
      std::max({c.hidden_size, dense_width, c.n_heads * c.v_head_dim, c.q_lora_rank, c.kv_lora_rank});
  const std::uint64_t per_thread = cpu::matmul_scratch_bytes(longest) +
                                   2 * static_cast<std::uint64_t>(cpu::kTileRows * longest) * sizeof(float) +
                                   attention_bytes(c, m) + tiles_bytes(m);
  return static_cast<std::uint64_t>(m) * per_row + static_cast<std::uint64_t>(n_threads) * per_thread +
         static_cast<std::uint64_t>(chunks_for(n_positions, n_sequences)) * partial_floats(c) * sizeof(float);
}

}  // namespace dodeca::runtime
