#include "runtime/exec/mla_attention.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/kernels/norm/norm.hpp"
#include "cpu/kernels/rope/rope.hpp"
#include "runtime/exec/attention_absorbed.hpp"
#include "runtime/exec/attention_decompressed.hpp"
#include "runtime/exec/multiply.hpp"
#include "runtime/exec/output_projection.hpp"

namespace dodeca::runtime {
namespace {

using enum WeightRole;

std::int64_t head_dim(const ModelConfig& c) { return c.qk_nope_head_dim + c.qk_rope_head_dim; }
std::int64_t cache_width(const ModelConfig& c) { return c.kv_lora_rank + c.qk_rope_head_dim; }

void add_bias(float* row, std::span<const float> bias) noexcept {
  for (std::size_t j = 0; j < bias.size(); ++j) row[j] += bias[j];
}

std::uint64_t bytes_of(std::span<const PackedMatrix> parts) {
  std::uint64_t bytes = 0;
  for (const PackedMatrix& part : parts) bytes += static_cast<std::uint64_t>(part.n_slices) * part.slice_bytes();
  return bytes;
}

// Rows of one head times its slice of a weight.
struct HeadProduct {
  const PackedMatrix& weight;
  std::int64_t slice = 0;
  const Activations& src;  // from column src_begin on
  std::int64_t src_begin = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

// For rows [begin, end), kHeadRows at most.
void multiply_head(const Pass& pass, const cpu::Member& member, const HeadProduct& p, std::int64_t begin,
                   std::int64_t end) noexcept {
  const cpu::ActFormat format = p.weight.layout->act;
  const std::size_t stride = cpu::act_row_bytes(format, p.weight.n_in);
  std::byte* acts = pass.space.scratch(member, ThreadBuffer::kHeadActs);
  for (std::int64_t i = begin; i < end; ++i) {
    cpu::quantize_act(format, p.src.row(i) + p.src_begin, p.weight.n_in,
                      acts + static_cast<std::size_t>(i - begin) * stride, pass.isa);
  }
  multiply({.weight = p.weight,
            .slice = p.slice,
            .tile_begin = 0,
            .tile_end = p.weight.n_tiles,
            .acts = acts,
            .act_stride = stride,
            .n_acts = end - begin,
            .out = p.out,
            .out_stride = p.out_stride,
            .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
            .prompt = pass.prompt()});
}

// The rows of q_b that are the head's queries, for rows [begin, end).
void project_head(const Pass& pass, const cpu::Member& member, const PackedMatrix& q_b, std::int64_t index,
                  const cpu::Range& rows) noexcept {
  const std::int64_t tiles = head_dim(pass.config) / cpu::kTileRows;
  const cpu::ActFormat format = q_b.layout->act;
  const Activations& q_a = pass.buffer(RowBuffer::kQA);
  Activations& q = pass.buffer(RowBuffer::kQuery);
  multiply({.weight = q_b,
            .tile_begin = index * tiles,
            .tile_end = (index + 1) * tiles,
            .acts = q_a.data(format, rows.begin),
            .act_stride = q_a.stride(format),
            .n_acts = rows.end - rows.begin,
            .out = q.row(rows.begin) + q_b.row_begin,
            .out_stride = q.stride_floats(),
            .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
            .prompt = pass.prompt()});
}

// f(head, begin, end) for the member's share of (head, kHeadRows rows).
template <class F>
void for_each_head_unit(const Pass& pass, const cpu::Member& member, F&& f) noexcept {
  const std::int64_t row_units = (pass.n() + kHeadRows - 1) / kHeadRows;
  const cpu::Range range = member.part(pass.config.n_heads * row_units);
  for (std::int64_t u = range.begin; u < range.end; ++u) {
    const std::int64_t begin = u % row_units * kHeadRows;
    f(u / row_units, begin, std::min(pass.n(), begin + kHeadRows));
  }
}

// Ranges of rows within [begin, end) that take the absorbed form.
template <class F>
void for_each_absorbed(const Pass& pass, const LatentAttention& attention, std::int64_t begin, std::int64_t end,
                       F&& f) noexcept {
  while (begin < end) {
    std::int64_t stop = begin;
    while (stop < end && !attention.is_decompressed(pass, pass.row(stop))) ++stop;
    if (stop > begin) f(begin, stop);
    begin = std::max(stop, begin + 1);
  }
}

}  // namespace

MlaWeights::MlaWeights(const Model& model, const BlockPlan& plan) {
  const auto vector = [&](WeightRole role) { return model.weights().vector({role, plan.layer}); };
  const auto parts = [&](WeightRole role) { return model.weights().parts({role, plan.layer}); };
  norm = vector(kAttentionNorm);
  q_a_norm = vector(kQANorm);
  q_a_bias = vector(kQABias);
  kv_a_norm = vector(kKvANorm);
  kv_a_bias = vector(kKvABias);
  output_bias = vector(kAttentionOutputBias);
  q = parts(kQ);
  q_a = parts(kQA);
  q_b = parts(kQB);
  kv_a = parts(kKvA);
  k_b = parts(kKB);
  v_b = parts(kVB);
  output = parts(kAttentionOutput);
  for (std::size_t p = 0; p < plan.parts.size(); ++p) {
    for (std::int64_t i = 0; i < plan.parts[p].size(); ++i) heads.push_back({p, i});
  }
}

LatentAttention::LatentAttention(const Model& model, const BlockPlan& plan)
    : weights_(model, plan),
      layer_(plan.layer),
      can_decompress_(model.config().qk_nope_head_dim % 32 == 0 && model.config().v_head_dim % cpu::kStripLanes == 0) {}

bool LatentAttention::is_decompressed(const Pass& pass, const Row& row) const noexcept {
  return row.prompt && can_decompress_ && pass.cache.format(layer_).integer;
}

MlaAttention::MlaAttention(const Model& model, const BlockPlan& plan) : Block(plan), attention_(model, plan) {
  const MlaWeights& w = attention_.weights();
  for (const auto& parts : {w.q_a.empty() ? w.q : w.q_a, w.kv_a}) {
    for (const PackedMatrix& part : parts) latent_loads_.push_back({part.n_tiles, part.tile_bytes});
  }
  for (const PackedMatrix& part : w.q_b) query_loads_.push_back({part.n_tiles, part.tile_bytes});
  by_head_ = {latent_phase(), query_phase(true), attention_phase(), value_phase(), output_phase()};
  all_heads_ = {latent_phase(), query_phase(false), attention_phase(), value_phase(), output_phase()};
  if (!w.q_b.empty()) all_heads_.insert(all_heads_.begin() + 1, query_projection_phase());
}

void MlaAttention::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  const ModelConfig& c = plan.config;
  const PlannedWeights weights(plan, block);
  const std::int64_t m = sizes.micro_batch;
  for (const WeightRole role : {kQ, kQA, kKvA}) demand.read_by(RowBuffer::kInput, weights[role]);
  demand.read_by(RowBuffer::kQA, weights[kQB]);
  demand.read_by(RowBuffer::kHeads, weights[kAttentionOutput]);
  std::int64_t heads = 0;
  for (const Span& part : block.parts) heads = std::max(heads, part.size());
  demand.rows(RowBuffer::kQA, m, c.q_lora_rank);
  demand.rows(RowBuffer::kKv, m, cache_width(c));
  demand.rows(RowBuffer::kQuery, m, c.n_heads * head_dim(c));
  demand.rows(RowBuffer::kAbsorbedQuery, m, c.n_heads * cache_width(c));
  demand.rows(RowBuffer::kLatent, m, c.n_heads * c.kv_lora_rank);
  demand.rows(RowBuffer::kHeads, block.n_parts() * m, heads * c.v_head_dim);
  for (const WeightRole role : {kKB, kVB}) {
    const WeightPlan& w = *weights[role];
    demand.scratch(ThreadBuffer::kMatmul, multiply_scratch_bytes(w));
    demand.scratch(ThreadBuffer::kHeadActs, kHeadRows * std::max(cpu::act_row_bytes(w.layout->act, w.n_in),
                                                                 cpu::act_row_bytes(cpu::ActFormat::kF32, w.n_in)));
  }
  demand.scratch(ThreadBuffer::kAttention, std::max(absorbed_scratch_bytes(c), decompressed_scratch_bytes(c, m)));
  demand_partials(c, sizes, demand);
  demand_output_projection(block, sizes, demand);
}

bool MlaAttention::by_head(const Pass& pass) const {
  const MlaWeights& w = attention_.weights();
  return !w.q_b.empty() && pass.n() < w.q_b.front().gemm_min_rows && head_dim(pass.config) % cpu::kTileRows == 0;
}

// ---- the phases -----------------------------------------------------------------------------------------------------

Phase MlaAttention::latent_phase() const {
  const MlaWeights& w = attention_.weights();
  const bool lora = !w.q_a.empty();
  return {.name = lora ? "q_a, kv_a" : "q, kv_a",
          .deal =
              [this, lora](Pass& pass, const cpu::Member& member) {
                const MlaWeights& w = attention_.weights();
                deal_tiles(member, latent_loads_, [&](std::size_t load, const cpu::Range& tiles) {
                  const std::span<const PackedMatrix> first = lora ? w.q_a : w.q;
                  if (load < first.size())
                    project(pass, member,
                            {first[load], tiles, RowBuffer::kInput, lora ? RowBuffer::kQA : RowBuffer::kQuery});
                  else
                    project(pass, member, {w.kv_a[load - first.size()], tiles, RowBuffer::kInput, RowBuffer::kKv});
                });
              },
          .finish = [this](Pass& pass, std::int64_t i) { write_cache_row(pass, i); },
          .last =
              [this](Pass&) {
                absorbed_units_.reset();
                decompressed_units_.reset();
              },
          .work = [&w, lora](const Pass&) { return Work{bytes_of(lora ? w.q_a : w.q) + bytes_of(w.kv_a)}; },
          .taps = {tap_rows(kKvA, RowBuffer::kInput)}};
}

// Latent normalized, key rotated, row written to the cache; q_a normalized and quantized.
void MlaAttention::write_cache_row(Pass& pass, std::int64_t i) const {
  const ModelConfig& c = pass.config;
  const MlaWeights& w = attention_.weights();
  const auto eps = static_cast<float>(c.rms_norm_eps);
  float* kv = pass.buffer(RowBuffer::kKv).row(i);
  add_bias(kv, w.kv_a_bias);
  cpu::rms_norm(kv, w.kv_a_norm.data(), c.kv_lora_rank, eps, kv, pass.isa);
  cpu::rope_rotate(kv + c.kv_lora_rank, pass.space.array<float>(ArrayBuffer::kAngles) + i * c.rope.dim, c.rope.dim / 2);
  pass.cache.write_row(attention_.layer(), pass.row(i).sequence, pass.row(i).position, kv);
  if (w.q_a.empty()) return;
  Activations& q_a = pass.buffer(RowBuffer::kQA);
  add_bias(q_a.row(i), w.q_a_bias);
  cpu::rms_norm(q_a.row(i), w.q_a_norm.data(), c.q_lora_rank, eps, q_a.row(i), pass.isa);
  q_a.quantize(i, c.q_lora_rank, pass.isa);
}

Phase MlaAttention::query_projection_phase() const {
  const MlaWeights& w = attention_.weights();
  return {.name = "q_b",
          .deal =
              [this](Pass& pass, const cpu::Member& member) {
                deal_tiles(member, query_loads_, [&](std::size_t part, const cpu::Range& tiles) {
                  project(pass, member, {attention_.weights().q_b[part], tiles, RowBuffer::kQA, RowBuffer::kQuery});
                });
              },
          .work = [&w](const Pass&) { return Work{bytes_of(w.q_b)}; },
          .taps = {tap_rows(kQB, RowBuffer::kQA)}};
}

Phase MlaAttention::query_phase(bool with_projection) const {
  const MlaWeights& w = attention_.weights();
  Phase phase{.name = with_projection ? "q_b, k_b" : "k_b",
              .deal = [this, with_projection](
                          Pass& pass, const cpu::Member& member) { deal_queries(pass, member, with_projection); },
              .work = [&w, with_projection](
                          const Pass&) { return Work{(with_projection ? bytes_of(w.q_b) : 0) + bytes_of(w.k_b)}; }};
  if (with_projection && !w.q_b.empty()) phase.taps.push_back(tap_rows(kQB, RowBuffer::kQA));
  phase.taps.push_back({kKB, [](const Pass& pass, const RowSink& sink) {
                          for (std::int64_t i = 0; i < pass.n(); ++i) {
                            const float* q = pass.buffer(RowBuffer::kQuery).row(i);
                            for (std::int64_t h = 0; h < pass.config.n_heads; ++h)
                              sink(h, q + h * head_dim(pass.config));
                          }
                        }});
  return phase;
}

void MlaAttention::deal_queries(Pass& pass, const cpu::Member& member, bool with_projection) const {
  const ModelConfig& c = pass.config;
  const std::int64_t d = head_dim(c), width = cache_width(c);
  Activations &q = pass.buffer(RowBuffer::kQuery), &absorbed = pass.buffer(RowBuffer::kAbsorbedQuery);
  const float* angles = pass.space.array<float>(ArrayBuffer::kAngles);
  for_each_head_unit(pass, member, [&](std::int64_t head, std::int64_t begin, std::int64_t end) {
    const MlaWeights::Head& at = attention_.head(head);
    if (with_projection) project_head(pass, member, attention_.weights().q_b[at.part], at.index, {begin, end});
    for (std::int64_t i = begin; i < end; ++i)
      cpu::rope_rotate(q.row(i) + head * d + c.qk_nope_head_dim, angles + i * c.rope.dim, c.rope.dim / 2);
    for_each_absorbed(pass, attention_, begin, end, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        std::memcpy(absorbed.row(i) + head * width + c.kv_lora_rank, q.row(i) + head * d + c.qk_nope_head_dim,
                    static_cast<std::size_t>(c.qk_rope_head_dim) * sizeof(float));
      }
      multiply_head(pass, member,
                    {.weight = attention_.k_b(head),
                     .slice = at.index,
                     .src = q,
                     .src_begin = head * d,
                     .out = absorbed.row(first) + head * width,
                     .out_stride = absorbed.stride_floats()},
                    first, last);
    });
  });
}

Phase MlaAttention::attention_phase() const {
  return {.name = "attention",
          .deal =
              [this](Pass& pass, const cpu::Member& member) {
                attend_absorbed(pass, member, attention_, absorbed_units_);
                attend_decompressed(pass, member, attention_, decompressed_units_);
              },
          .work = [this](const Pass& pass) { return Work{pass.cache_bytes(attention_.layer())}; }};
}

Phase MlaAttention::value_phase() const {
  const MlaWeights& w = attention_.weights();
  return {.name = "v_b",
          .deal = [this](Pass& pass, const cpu::Member& member) { deal_values(pass, member); },
          .finish = [this](Pass& pass, std::int64_t i) { quantize_heads(pass, attention_.weights().output, i); },
          .work = [&w](const Pass&) { return Work{bytes_of(w.v_b)}; },
          .taps = {{kVB, [](const Pass& pass, const RowSink& sink) {
                      for (std::int64_t i = 0; i < pass.n(); ++i) {
                        const float* latent = pass.buffer(RowBuffer::kLatent).row(i);
                        for (std::int64_t h = 0; h < pass.config.n_heads; ++h)
                          sink(h, latent + h * pass.config.kv_lora_rank);
                      }
                    }}}};
}

void MlaAttention::deal_values(Pass& pass, const cpu::Member& member) const {
  const Activations& latent = pass.buffer(RowBuffer::kLatent);
  for_each_head_unit(pass, member, [&](std::int64_t head, std::int64_t begin, std::int64_t end) {
    for_each_absorbed(pass, attention_, begin, end, [&](std::int64_t first, std::int64_t last) {
      merge_absorbed(pass, member, head, first, last);
      multiply_head(pass, member,
                    {.weight = attention_.v_b(head),
                     .slice = attention_.head(head).index,
                     .src = latent,
                     .src_begin = head * pass.config.kv_lora_rank,
                     .out = attention_.result(pass, head, first),
                     .out_stride = pass.buffer(RowBuffer::kHeads).stride_floats()},
                    first, last);
    });
  });
}

Phase MlaAttention::output_phase() const {
  const MlaWeights& w = attention_.weights();
  return {.name = "output",
          .deal = [&w](Pass& pass, const cpu::Member& member) { project_heads(pass, member, w.output, w.output_bias); },
          .work = [&w](const Pass&) { return Work{bytes_of(w.output)}; },
          .taps = {tap_rows(kAttentionOutput, RowBuffer::kHeads)}};
}

}  // namespace dodeca::runtime
