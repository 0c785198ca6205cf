#include "runtime/exec/gqa_attention.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/kernels/norm/norm.hpp"
#include "cpu/kernels/rope/rope.hpp"
#include "runtime/exec/attention_grouped_prompt.hpp"
#include "runtime/exec/ffn_products.hpp"

namespace dodeca::runtime::exec {
namespace {

using enum WeightRole;

void add_bias(float* x, std::span<const float> bias, std::int64_t begin, std::int64_t n) noexcept {
  exec::add_bias(x, bias.empty() ? nullptr : bias.data() + begin, n);
}

}  // namespace

GqaAttention::GqaAttention(const Model& model, const BlockPlan& plan)
    : Block(plan),
      heads_(model, plan),
      qk_norm_(model.config().qk_norm),
      norm_(model.weights().vector({kAttentionNorm, plan.layer})),
      q_bias_(model.weights().vector({kQBias, plan.layer})),
      k_bias_(model.weights().vector({kKBias, plan.layer})),
      v_bias_(model.weights().vector({kVBias, plan.layer})),
      q_norm_(model.weights().vector({kQNorm, plan.layer})),
      k_norm_(model.weights().vector({kKNorm, plan.layer})),
      output_(model.weights().parts({kAttentionOutput, plan.layer}),
              model.weights().vector({kAttentionOutputBias, plan.layer})),
      query_in_(model.weights().parts({kQ, plan.layer}), {.acts = RowBuffer::kInput, .out = RowBuffer::kQuery}),
      key_in_(model.weights().parts({kK, plan.layer}),
              {.acts = RowBuffer::kInput, .out = RowBuffer::kKv, .first_piece = query_in_.n_pieces()}),
      value_in_(model.weights().parts({kV, plan.layer}), {.acts = RowBuffer::kInput,
                                                          .out = RowBuffer::kValues,
                                                          .first_piece = query_in_.n_pieces() + key_in_.n_pieces()}),
      grouped_units_(std::ssize(plan.parts)),
      prompt_units_(std::ssize(plan.parts)) {
  const ModelConfig& c = model.config();
  head_tiles_ = c.head_dim % cpu::kTileRows == 0 ? c.head_dim / cpu::kTileRows : kWholeLoad;
  key_block_ = n_blocks(c.n_heads);
  value_block_ = key_block_ + n_blocks(c.n_kv_heads);
  const auto add = [&](const PiecedProjection& projection, std::int64_t first_block) {
    for (auto [from, to] :
         {std::pair{projection.piece_loads(), &piece_loads_}, {projection.part_loads(), &part_loads_}}) {
      for (TileLoad& load : from) {
        load.first_block = first_block;
        load.tiles_per_block = head_tiles_;
        to->push_back(load);
      }
    }
  };
  add(query_in_, 0);
  add(key_in_, key_block_);
  add(value_in_, value_block_);
  for (std::size_t part = 0; part < plan.parts.size(); ++part) {
    merge_loads_.push_back({.n_tiles = blocks_of(plan.parts[part].size() * heads_.group() * c.head_dim),
                            .tile_bytes = 1,
                            .part = static_cast<std::int32_t>(part)});
  }
  few_phases_ = {input_phase(), attention_phase(), merge_phase(), output_.phase()};
  many_phases_ = {input_phase(), attention_phase(), output_.phase()};
}

void GqaAttention::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  const ModelConfig& c = plan.config;
  const PlannedWeights weights(plan, block);
  const std::int64_t m = sizes.micro_batch;
  for (const WeightRole role : {kQ, kK, kV}) demand.read_by(RowBuffer::kInput, weights[role]);
  demand.read_by(RowBuffer::kHeads, weights[kAttentionOutput]);
  std::int64_t heads = 0;
  for (const Span& part : block.parts) heads = std::max(heads, part.size());
  demand.rows(RowBuffer::kQuery, m, c.n_heads * c.head_dim);
  demand.rows(RowBuffer::kKv, m, c.n_kv_heads * c.head_dim);
  demand.rows(RowBuffer::kValues, m, c.n_kv_heads * c.head_dim);
  demand.part_rows(RowBuffer::kHeads, m, heads * (c.n_heads / c.n_kv_heads) * c.head_dim);
  demand.array(ArrayBuffer::kSquares, m * c.n_heads, sizeof(float));
  demand.scratch(ThreadBuffer::kAttention, std::max(grouped_scratch_bytes(c), grouped_prompt_scratch_bytes(c)));
  demand.blocks(std::max(c.n_heads + 2 * c.n_kv_heads, blocks_of(c.n_heads * c.head_dim)));
  PiecedProjection::add_demand({weights[kQ], weights[kK], weights[kV]}, sizes, demand);
  demand_grouped_partials(c, sizes, demand);
  OutputProjection::add_demand(*weights[kAttentionOutput], sizes, demand);
}

// ---- queries, keys and values ---------------------------------------------------------------------------------------

Phase GqaAttention::input_phase() const {
  return {
      .name = "q, k, v",
      .loads = [this](const Pass& pass) { return std::span<const TileLoad>(pass.few() ? piece_loads_ : part_loads_); },
      .run =
          [this](Pass& pass, const cpu::Member& member, std::size_t load, const cpu::Range& tiles) {
            auto at = static_cast<std::int64_t>(load);
            for (const PiecedProjection* projection : {&query_in_, &key_in_, &value_in_}) {
              const std::int64_t n = pass.few() ? projection->n_pieces() : projection->n_parts();
              if (at < n) return projection->run(pass, member, at, tiles);
              at -= n;
            }
          },
      .finish_block = [this](Pass& pass, std::int64_t block) { finish_block(pass, block); },
      .finish_part = [this](Pass& pass, std::int64_t part, std::int64_t block) { sum_block(pass, part, block); },
      .finish = [this](Pass& pass, std::int64_t i) { finish_row(pass, i); },
      .last =
          [this](Pass& pass) {
            for (std::int64_t i = 0; qk_norm_ == QkNorm::kWhole && pass.few() && i < pass.n(); ++i)
              set_query_factor(pass, i);
            if (pass.few()) chunks_.list(pass, heads_);
            grouped_units_.reset();
            prompt_units_.reset();
          },
      .work = [this](const Pass&) { return Work{query_in_.bytes() + key_in_.bytes() + value_in_.bytes()}; },
      .taps = {tap_rows(kQ, RowBuffer::kInput)},
      .joint =
          [this](Pass& pass, std::vector<Region>& regions) {
            // Every part attends with its own heads' queries, whose norm is over those of all parts.
            if (qk_norm_ == QkNorm::kWhole) query_in_.add_regions(pass, regions);
            key_in_.add_regions(pass, regions);
            value_in_.add_regions(pass, regions);
          }};
}

GqaAttention::Place GqaAttention::place_of(const Pass& pass, std::int64_t block) const {
  const ModelConfig& c = pass.config;
  const auto heads = [&](std::int64_t first, std::int64_t n) {
    return head_tiles_ == kWholeLoad ? Span{0, n} : Span{block - first, block - first + 1};
  };
  if (block < key_block_) return {Place::Kind::kQuery, heads(0, c.n_heads)};
  if (block < value_block_) return {Place::Kind::kKey, heads(key_block_, c.n_kv_heads)};
  return {Place::Kind::kValue, heads(value_block_, c.n_kv_heads)};
}

void GqaAttention::sum_block(Pass& pass, std::int64_t part, std::int64_t block) const {
  const Place at = place_of(pass, block);
  const cpu::Range columns{at.heads.begin * heads_.dim(), at.heads.end * heads_.dim()};
  const PiecedProjection& projection = at.kind == Place::Kind::kQuery ? query_in_
                                       : at.kind == Place::Kind::kKey ? key_in_
                                                                      : value_in_;
  projection.sum(pass, columns, part);
}

void GqaAttention::finish_block(Pass& pass, std::int64_t block) const {
  Place at = place_of(pass, block);
  if (at.kind == Place::Kind::kKey && qk_norm_ == QkNorm::kWhole) {
    if (!keys_done_.is_last_of(n_blocks(pass.config.n_kv_heads))) return;
    at.heads = {0, pass.config.n_kv_heads};
  }
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    if (at.kind == Place::Kind::kKey) {
      finish_keys(pass, i, at.heads);
      continue;
    }
    for (std::int64_t h = at.heads.begin; h < at.heads.end; ++h)
      at.kind == Place::Kind::kQuery ? finish_query(pass, i, h) : finish_value(pass, i, h);
  }
}

// Where parts are other processes', their keys and values have come, and this one's heads have queries.
void GqaAttention::finish_row(Pass& pass, std::int64_t i) const {
  const ModelConfig& c = pass.config;
  const Span own = qk_norm_ == QkNorm::kWhole ? Span{0, c.n_kv_heads} : heads_.here(pass);
  for (std::int64_t h = own.begin * heads_.group(); h < own.end * heads_.group(); ++h) finish_query(pass, i, h);
  if (qk_norm_ == QkNorm::kWhole) set_query_factor(pass, i);
  finish_keys(pass, i, {0, c.n_kv_heads});
  for (std::int64_t h = 0; h < c.n_kv_heads; ++h) finish_value(pass, i, h);
}

void GqaAttention::rotate(const Pass& pass, std::int64_t i, float* head) const {
  const RopeConfig& rope = pass.config.rope;
  const float* angles = pass.space.array<float>(ArrayBuffer::kAngles) + i * rope.dim;
  (rope.pairing == RopePairing::kHalves ? cpu::rope_rotate_halves : cpu::rope_rotate)(head, angles, rope.dim / 2);
}

void GqaAttention::finish_query(Pass& pass, std::int64_t i, std::int64_t query_head) const {
  const std::int64_t dim = heads_.dim(), begin = query_head * dim;
  float* q = pass.buffer(RowBuffer::kQuery).row(i) + begin;
  add_bias(q, q_bias_, begin, dim);
  if (qk_norm_ == QkNorm::kWhole) {
    alignas(64) float sum[kBlockColumns];
    float squares = 0.0f;
    for (std::int64_t j = 0; j < dim; j += kBlockColumns) {
      const std::int64_t n = std::min(kBlockColumns, dim - j);
      squares += cpu::add_and_weigh({q + j, nullptr, q_norm_.data() + begin + j, n, sum, q + j}, pass.isa);
    }
    squares_of(pass, i, query_head) = squares;
  } else if (qk_norm_ == QkNorm::kPerHead) {
    cpu::rms_norm(q, q_norm_.data(), dim, static_cast<float>(pass.config.rms_norm_eps), q, pass.isa);
  }
  rotate(pass, i, q);
}

void GqaAttention::set_query_factor(Pass& pass, std::int64_t i) const {
  const std::int64_t n = pass.config.n_heads;
  float squares = 0.0f;
  for (std::int64_t h = 0; h < n; ++h) squares += squares_of(pass, i, h);
  const float mean = squares / static_cast<float>(n * heads_.dim());
  pass.buffer(RowBuffer::kQuery).set_factor(i, 1.0f / std::sqrt(mean + static_cast<float>(pass.config.rms_norm_eps)));
}

void GqaAttention::finish_keys(Pass& pass, std::int64_t i, const Span& heads) const {
  if (qk_norm_ == QkNorm::kWhole) {
    const std::int64_t n = pass.config.n_kv_heads * heads_.dim();
    float* keys = pass.buffer(RowBuffer::kKv).row(i);
    add_bias(keys, k_bias_, 0, n);
    cpu::rms_norm(keys, k_norm_.data(), n, static_cast<float>(pass.config.rms_norm_eps), keys, pass.isa);
  }
  for (std::int64_t h = heads.begin; h < heads.end; ++h) finish_key(pass, i, h);
}

void GqaAttention::finish_key(Pass& pass, std::int64_t i, std::int64_t head) const {
  const std::int64_t dim = heads_.dim();
  float* key = pass.buffer(RowBuffer::kKv).row(i) + head * dim;
  if (qk_norm_ != QkNorm::kWhole) add_bias(key, k_bias_, head * dim, dim);
  if (qk_norm_ == QkNorm::kPerHead)
    cpu::rms_norm(key, k_norm_.data(), dim, static_cast<float>(pass.config.rms_norm_eps), key, pass.isa);
  rotate(pass, i, key);
  pass.cache.write_key(heads_.layer(), {pass.row(i).sequence, pass.row(i).position}, head, key);
}

void GqaAttention::finish_value(Pass& pass, std::int64_t i, std::int64_t head) const {
  const std::int64_t dim = heads_.dim();
  float* value = pass.buffer(RowBuffer::kValues).row(i) + head * dim;
  add_bias(value, v_bias_, head * dim, dim);
  pass.cache.write_value(heads_.layer(), {pass.row(i).sequence, pass.row(i).position}, head, value);
}

// ---- attention ------------------------------------------------------------------------------------------------------

Phase GqaAttention::attention_phase() const {
  return {.name = "attention",
          .loads = [this](const Pass&) { return std::span<const TileLoad>(chunks_.loads); },
          .run = [this](Pass& pass, const cpu::Member& member, std::size_t load,
                        const cpu::Range& tiles) { attend_grouped_chunk(pass, member, heads_, chunks_, load, tiles); },
          .deal =
              [this](Pass& pass, const cpu::Member& member) {
                attend_grouped(pass, member, heads_, grouped_units_);
                attend_grouped_prompt(pass, member, heads_, prompt_units_);
              },
          .finish = [this](Pass& pass, std::int64_t i) { output_.quantize(pass, i); },
          .work = [this](const Pass& pass) { return Work{pass.cache_bytes(heads_.layer())}; },
          .end = PhaseEnd::kPart};
}

// Few rows: blocks of columns of the heads' results, merged from the chunks of the context and quantized.
Phase GqaAttention::merge_phase() const {
  return {.name = "merge",
          .loads = [this](const Pass&) { return std::span<const TileLoad>(merge_loads_); },
          .run =
              [this](Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& blocks) {
                for (std::int64_t block = blocks.begin; block < blocks.end; ++block) {
                  merge_grouped(pass, member, heads_, chunks_, part, columns_of(block, output_.width(part)));
                  output_.quantize_block(pass, part, block);
                }
              },
          .end = PhaseEnd::kPart};
}

}  // namespace dodeca::runtime::exec
