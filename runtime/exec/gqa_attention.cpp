#include "runtime/exec/gqa_attention.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "cpu/kernels/attention/attention.hpp"
#include "cpu/kernels/rope/rope.hpp"

namespace dodeca::runtime::exec {
namespace {

using enum WeightRole;

// The parts of a thread's work space, in floats.
struct Space {
  std::int64_t block, strip, q, scores, max, sum, acc, total;

  explicit Space(const ModelConfig& c) {
    const std::int64_t width = 2 * c.head_dim, group = c.n_heads / c.n_kv_heads;
    block = 0;                                                  // [kContextBlock, kv_heads * width]
    strip = block + cpu::kContextBlock * c.n_kv_heads * width;  // [kContextBlock, width] one key-value head
    q = strip + cpu::kContextBlock * width;                     // [group, width]
    scores = q + group * width;                                 // [group, kContextBlock]
    max = scores + group * cpu::kContextBlock;                  // [group]
    sum = max + group;                                          // [group]
    acc = sum + group;                                          // [group, head_dim]
    total = acc + group * c.head_dim;
  }
};

}  // namespace

GqaAttention::GqaAttention(const Model& model, const BlockPlan& plan)
    : Block(plan),
      q_(model.weights().parts({kQ, plan.layer})),
      k_(model.weights().parts({kK, plan.layer})),
      v_(model.weights().parts({kV, plan.layer})),
      norm_(model.weights().vector({kAttentionNorm, plan.layer})),
      output_(model.weights().parts({kAttentionOutput, plan.layer}), {}) {
  for (std::size_t p = 0; p < plan.parts.size(); ++p) {
    for (std::int64_t h = plan.parts[p].begin; h < plan.parts[p].end; ++h) {
      part_of_.push_back(static_cast<std::int64_t>(p));
      first_of_.push_back(plan.parts[p].begin);
    }
  }
  for (const auto& parts : {q_, v_, k_}) {
    for (const PackedMatrix& part : parts) loads_.push_back(load_of(part));
  }
  phases_ = {
      {.name = "q, k, v",
       .loads = [this](const Pass&) { return std::span<const TileLoad>(loads_); },
       .run = [this](Pass& pass, const cpu::Member& member, std::size_t load,
                     const cpu::Range& tiles) { project_inputs(pass, member, load, tiles); },
       .finish = [this](Pass& pass, std::int64_t i) { write_cache_row(pass, i); },
       .work =
           [this](const Pass&) {
             Work work;
             for (const auto& parts : {q_, k_, v_}) {
               for (const PackedMatrix& part : parts) work.bytes += part.slice_bytes();
             }
             return work;
           },
       .taps = {tap_rows(kQ, RowBuffer::kInput)},
       .joint =
           [this](Pass& pass, std::vector<Region>& regions) {
             Activations& rows = pass.buffer(RowBuffer::kKv);
             const std::int64_t keys = pass.config.n_kv_heads * pass.config.head_dim;
             for (const PackedMatrix& v : v_)
               add_region(regions, rows, {v.part, 0, pass.n(), v.row_begin, v.row_begin + v.n_out});
             for (const PackedMatrix& k : k_)
               add_region(regions, rows, {k.part, 0, pass.n(), keys + k.row_begin, keys + k.row_begin + k.n_out});
           }},
      {.name = "attention",
       .deal = [this](Pass& pass, const cpu::Member& member) { attend(pass, member); },
       .finish = [this](Pass& pass, std::int64_t i) { output_.quantize(pass, i); },
       .work = [this](const Pass& pass) { return Work{pass.cache_bytes(this->plan().layer)}; }},
      output_.phase(),
  };
}

void GqaAttention::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  const ModelConfig& c = plan.config;
  const PlannedWeights weights(plan, block);
  const std::int64_t m = sizes.micro_batch;
  for (const WeightRole role : {kQ, kK, kV}) demand.read_by(RowBuffer::kInput, weights[role]);
  demand.read_by(RowBuffer::kHeads, weights[kAttentionOutput]);
  std::int64_t kv_heads = 0;
  for (const Span& part : block.parts) kv_heads = std::max(kv_heads, part.size());
  demand.rows(RowBuffer::kKv, m, 4 * c.n_kv_heads * c.head_dim);  // as projected, then as cached
  demand.rows(RowBuffer::kQuery, m, c.n_heads * c.head_dim);
  demand.part_rows(RowBuffer::kHeads, m, kv_heads * (c.n_heads / c.n_kv_heads) * c.head_dim);
  demand.scratch(ThreadBuffer::kAttention, static_cast<std::size_t>(Space(c).total) * sizeof(float));
  OutputProjection::add_demand(*weights[kAttentionOutput], sizes, demand);
}

// Values before keys in a row of kKv.
void GqaAttention::project_inputs(Pass& pass, const cpu::Member& member, std::size_t load,
                                  const cpu::Range& tiles) const {
  const std::size_t n_parts = q_.size(), part = load % n_parts;
  const std::int64_t values = pass.config.n_kv_heads * pass.config.head_dim;
  if (load < n_parts)
    project(pass, member, {q_[part], tiles, RowBuffer::kInput, RowBuffer::kQuery});
  else if (load < 2 * n_parts)
    project(pass, member, {v_[part], tiles, RowBuffer::kInput, RowBuffer::kKv});
  else
    project(pass, member, {k_[part], tiles, RowBuffer::kInput, RowBuffer::kKv, values});
}

void GqaAttention::write_cache_row(Pass& pass, std::int64_t i) const {
  const ModelConfig& c = pass.config;
  const std::int64_t d = c.head_dim, kv = c.n_kv_heads;
  const Row& row = pass.row(i);
  const float* angles = pass.space.array<float>(ArrayBuffer::kAngles) + i * c.rope.dim;
  float* values = pass.buffer(RowBuffer::kKv).row(i);
  float* q = pass.buffer(RowBuffer::kQuery).row(i);
  const auto rotate = c.rope.pairing == RopePairing::kHalves ? cpu::rope_rotate_halves : cpu::rope_rotate;
  for (std::int64_t h = 0; h < kv; ++h) rotate(values + (kv + h) * d, angles, c.rope.dim / 2);
  for (std::int64_t h = 0; h < c.n_heads; ++h) rotate(q + h * d, angles, c.rope.dim / 2);
  float* cached = values + 2 * kv * d;
  for (std::int64_t h = 0; h < kv; ++h) {
    std::copy_n(values + h * d, d, cached + 2 * h * d);
    std::copy_n(values + (kv + h) * d, d, cached + (2 * h + 1) * d);
  }
  pass.cache.write_row(plan().layer, row.sequence, row.position, cached);
}

void GqaAttention::attend(Pass& pass, const cpu::Member& member) const {
  const ModelConfig& c = pass.config;
  const std::int64_t layer = plan().layer, d = c.head_dim, kv = c.n_kv_heads, group = c.n_heads / kv, width = 2 * d,
                     row_width = kv * width;
  const auto scale = static_cast<float>(c.softmax_scale(AttentionKind::kGqa));
  const RowFormat& format = pass.cache.format(layer);
  auto* scratch = reinterpret_cast<float*>(pass.space.scratch(member, ThreadBuffer::kAttention));
  const Space at(c);
  float *block = scratch + at.block, *strip = scratch + at.strip, *q = scratch + at.q, *max = scratch + at.max,
        *sum = scratch + at.sum, *acc = scratch + at.acc;
  const cpu::CrewPlace& place = pass.crews.place(member);
  const Span own{plan().parts[place.first_part].begin, plan().parts[place.end_part - 1].end};
  const cpu::Range units = place.share(pass.n() * own.size());
  for (std::int64_t u = units.begin; u < units.end; ++u) {
    const std::int64_t i = u / own.size(), h = own.begin + u % own.size();
    const Row& row = pass.row(i);
    std::fill_n(max, group, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, group, 0.0f);
    std::fill_n(acc, group * d, 0.0f);
    for (std::int64_t g = 0; g < group; ++g) {
      std::fill_n(q + g * width, d, 0.0f);
      std::memcpy(q + g * width + d, pass.buffer(RowBuffer::kQuery).row(i) + (h * group + g) * d,
                  static_cast<std::size_t>(d) * sizeof(float));
    }
    for (std::int64_t position = 0; position <= row.position; position += cpu::kContextBlock) {
      const std::int64_t n = std::min<std::int64_t>(cpu::kContextBlock, row.position + 1 - position);
      const std::byte* rows = pass.cache.block(layer, row.sequence, position, static_cast<std::size_t>(part_of_[h]));
      cpu::decode_cache_rows({format.dtype, rows, format.row_bytes, n, row_width}, block, pass.isa);
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
                      .scratch = scratch + at.scores},
                     pass.isa);
    }
    const std::int64_t part = part_of_[h];
    Activations& heads = pass.buffer(RowBuffer::kHeads);
    float* out = heads.row(heads.first_row(part) + i) + (h - first_of_[h]) * group * d;
    for (std::int64_t g = 0; g < group; ++g) {
      for (std::int64_t j = 0; j < d; ++j) out[g * d + j] = acc[g * d + j] / sum[g];
    }
  }
}

}  // namespace dodeca::runtime::exec
