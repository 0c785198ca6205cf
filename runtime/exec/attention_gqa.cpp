// Grouped-query attention. A cache row holds, for each key-value head, its value and its key side by side; with a query
// padded by zeros over the value part, the block kernel of latent attention computes it unchanged: "latent" = value,
// "rope" = key.
#include <algorithm>
#include <cstring>
#include <limits>

#include "cpu/kernels/attention/attention.hpp"
#include "cpu/kernels/rope/rope.hpp"
#include "runtime/exec/pass.hpp"

namespace dodeca::runtime {

void attention_gqa(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept {
  const ModelConfig& c = pass.config();
  const LayerWeights& w = pass.weights.layers[static_cast<std::size_t>(layer)];
  const Workspace& s = pass.space;
  const std::int64_t d = c.head_dim, kv = c.n_kv_heads, group = c.n_heads / kv, width = 2 * d, row_width = s.kv.width();
  const float scale = static_cast<float>(c.softmax_scale());
  const cpu::Range rows = member.part(pass.n());

  InputSums::Layer* sums = pass.sums_of(layer);
  if (sums != nullptr) add_inputs(pass, member, sums->attention, s.normed);
  project(pass, member, w.q, s.normed, s.q);
  project(pass, member, w.v, s.normed, s.kv);
  project(pass, member, w.k, s.normed, s.kv, kv * d);
  member.barrier();
  float* scratch = pass.space.threads[static_cast<std::size_t>(member.index)].attention.as<float>();
  for (std::int64_t i = rows.begin; i < rows.end; ++i) {
    const Row& row = pass.rows[static_cast<std::size_t>(i)];
    const float* angles = s.angles.data() + i * c.rope.dim;
    for (std::int64_t h = 0; h < kv; ++h) {
      float* key = s.kv.row(i) + kv * d + h * d;
      cpu::rope_rotate(key, angles, c.rope.dim / 2);
      std::memcpy(scratch + h * width, s.kv.row(i) + h * d, static_cast<std::size_t>(d) * sizeof(float));
      std::memcpy(scratch + h * width + d, key, static_cast<std::size_t>(d) * sizeof(float));
    }
    cpu::encode_cache_row(pass.cache.dtype(), scratch, row_width, pass.cache.row(layer, row.sequence, row.position));
    for (std::int64_t h = 0; h < c.n_heads; ++h) cpu::rope_rotate(s.q.row(i) + h * d, angles, c.rope.dim / 2);
  }
  member.barrier();
  float* block = scratch;                                 // [kContextBlock, row_width]
  float* strip = block + cpu::kContextBlock * row_width;  // [kContextBlock, width] one key-value head
  float* q = strip + cpu::kContextBlock * width;          // [group, width]
  float* scores = q + group * width;                      // [group, kContextBlock]
  float* max = scores + group * cpu::kContextBlock;       // [group], sum [group], acc [group, d]
  const cpu::Range units = member.part(pass.n() * kv);
  for (std::int64_t u = units.begin; u < units.end; ++u) {
    const std::int64_t i = u / kv, h = u % kv;
    const Row& row = pass.rows[static_cast<std::size_t>(i)];
    float *sum = max + group, *acc = sum + group;
    std::fill_n(max, group, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, group * (1 + d), 0.0f);
    for (std::int64_t g = 0; g < group; ++g) {
      std::fill_n(q + g * width, d, 0.0f);
      std::memcpy(q + g * width + d, s.q.row(i) + (h * group + g) * d, static_cast<std::size_t>(d) * sizeof(float));
    }
    for (std::int64_t position = 0; position <= row.position; position += cpu::kContextBlock) {
      const std::int64_t n = std::min<std::int64_t>(cpu::kContextBlock, row.position + 1 - position);
      cpu::decode_cache_rows(pass.cache.dtype(), pass.cache.block(layer, row.sequence, position),
                             pass.cache.row_bytes(), n, row_width, block, pass.weights.isa);
      for (std::int64_t p = 0; p < n; ++p)
        std::memcpy(strip + p * width, block + p * row_width + h * width,
                    static_cast<std::size_t>(width) * sizeof(float));
      cpu::mla_block({.q = q,
                      .n_heads = group,
                      .width = width,
                      .value_width = d,
                      .rows = strip,
                      .n_positions = n,
                      .scale = scale,
                      .max = max,
                      .sum = sum,
                      .acc = acc,
                      .scratch = scores},
                     pass.weights.isa);
    }
    for (std::int64_t g = 0; g < group; ++g) {
      for (std::int64_t j = 0; j < d; ++j) s.heads.row(i)[(h * group + g) * d + j] = acc[g * d + j] / sum[g];
    }
  }
  finish(member, pass.n(), [&](std::int64_t i) { s.heads.quantize(i, pass.weights.isa); });
  pass.end_phase(member, Phase::kAttention, [] { return std::uint64_t{0}; });
  if (sums != nullptr) add_inputs(pass, member, sums->output, s.heads);
  project(pass, member, w.output, s.heads, s.normed);
}

}  // namespace dodeca::runtime
