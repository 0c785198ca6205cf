#include "runtime/exec/mla_attention.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/kernels/norm/norm.hpp"
#include "cpu/kernels/rope/rope.hpp"
#include "runtime/exec/attention_absorbed.hpp"
#include "runtime/exec/attention_decompressed.hpp"
#include "runtime/exec/ffn_products.hpp"
#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime::exec {
namespace {

using enum WeightRole;

std::int64_t head_dim(const ModelConfig& c) { return c.qk_nope_head_dim + c.qk_rope_head_dim; }
std::int64_t cache_width(const ModelConfig& c) { return c.kv_lora_rank + c.qk_rope_head_dim; }

void add_bias(float* row, std::span<const float> bias) noexcept {
  for (std::size_t j = 0; j < bias.size(); ++j) row[j] += bias[j];
}

// What each part has of the index queries.
void add_query_regions(const Pass& pass, std::span<const PackedMatrix> parts, std::vector<Region>& regions) {
  for (const PackedMatrix& part : parts)
    add_region(regions, pass.buffer(RowBuffer::kIndexQuery),
               {static_cast<std::int64_t>(part.part), 0, pass.n(), part.row_begin, part.row_begin + part.n_out});
}

std::uint64_t bytes_of(std::span<const PackedMatrix> parts) {
  std::uint64_t bytes = 0;
  for (const PackedMatrix& part : parts) bytes += static_cast<std::uint64_t>(part.n_slices) * part.slice_bytes();
  return bytes;
}

// Tiles of one head's slice of a weight times kHeadRows rows at most.
struct HeadProduct {
  const PackedMatrix& weight;
  std::int64_t slice = 0;
  cpu::Range tiles;
  std::int64_t n_rows = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

// source(i): the input of row i, as floats.
template <class F>
void multiply_head(const Pass& pass, const cpu::Member& member, const HeadProduct& p, F&& source) noexcept {
  const cpu::ActFormat format = p.weight.layout->act;
  const std::size_t stride = cpu::act_row_bytes(format, p.weight.n_in);
  std::byte* acts = pass.space.scratch(member, ThreadBuffer::kHeadActs);
  for (std::int64_t i = 0; i < p.n_rows; ++i)
    cpu::quantize_act(format, source(i), p.weight.n_in, acts + static_cast<std::size_t>(i) * stride, pass.isa);
  multiply({.weight = p.weight,
            .slice = p.slice,
            .tile_begin = p.tiles.begin,
            .tile_end = p.tiles.end,
            .acts = acts,
            .act_stride = stride,
            .n_acts = p.n_rows,
            .out = p.out,
            .out_stride = p.out_stride,
            .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
            .prompt = pass.prompt()});
}

// f(index, tiles) for each head, by its index in the part, that tiles of all heads of a weight belong to, and those of its own.
template <class F>
void for_each_head(const PackedMatrix& weight, const cpu::Range& tiles, F&& f) {
  for (std::int64_t t = tiles.begin; t < tiles.end;) {
    const std::int64_t index = t / weight.n_tiles, first = index * weight.n_tiles,
                       stop = std::min(tiles.end, first + weight.n_tiles);
    f(index, cpu::Range{t - first, stop - first});
    t = stop;
  }
}

// f(begin, end) for ranges of at most kHeadRows rows that take the absorbed form.
template <class F>
void for_each_absorbed(const Pass& pass, const LatentAttention& attention, F&& f) noexcept {
  for (std::int64_t begin = 0; begin < pass.n();) {
    std::int64_t end = begin;
    while (end < std::min(pass.n(), begin + kHeadRows) && !attention.is_decompressed(pass, end)) ++end;
    if (end > begin) f(begin, end);
    begin = std::max(end, begin + 1);
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
  heads_of = plan.parts;
  for (std::size_t p = 0; p < plan.parts.size(); ++p) {
    for (std::int64_t i = 0; i < plan.parts[p].size(); ++i) heads.push_back({p, i});
    const Span& own = plan.parts[p];
    const auto strip = [](std::int64_t head) { return (head + cpu::kStripLanes - 1) / cpu::kStripLanes; };
    const bool alone = model.plan().options.here != cpu::kAllParts && own.size() > 0;
    strips_of.push_back({alone ? own.begin / cpu::kStripLanes : strip(own.begin), strip(own.end)});
    if (own.size() > 0 && own.begin % cpu::kStripLanes != 0) strips_within_parts = false;
  }
}

LatentAttention::LatentAttention(const Model& model, const BlockPlan& plan)
    : weights_(model, plan),
      layer_(plan.layer),
      can_decompress_(model.config().qk_nope_head_dim % 32 == 0 && model.config().v_head_dim % cpu::kStripLanes == 0) {}

bool LatentAttention::is_decompressed(const Pass& pass, std::int64_t i) const noexcept {
  if (!pass.row(i).prompt || !can_decompress_ || !pass.cache.format(layer_).integer) return false;
  return !pass.is_sparse(i) || pass.row(i).position < masked_positions(pass.config);
}

MlaAttention::MlaAttention(const Model& model, const BlockPlan& plan)
    : Block(plan),
      attention_(model, plan),
      output_(attention_.weights().output, attention_.weights().output_bias),
      query_in_(
          attention_.weights().q_a.empty() ? attention_.weights().q : attention_.weights().q_a,
          {.acts = RowBuffer::kInput, .out = attention_.weights().q_a.empty() ? RowBuffer::kQuery : RowBuffer::kQA}),
      kv_in_(attention_.weights().kv_a,
             {.acts = RowBuffer::kInput, .out = RowBuffer::kKv, .first_piece = query_in_.n_pieces()}),
      indexer_(model, plan, query_in_.n_pieces() + kv_in_.n_pieces()),
      absorbed_units_(std::ssize(plan.parts)),
      decompressed_units_(std::ssize(plan.parts)) {
  const MlaWeights& w = attention_.weights();
  const ModelConfig& c = model.config();
  const std::int64_t d = head_dim(c);
  query_tiles_ = d % cpu::kTileRows == 0 ? d / cpu::kTileRows : kWholeLoad;
  const bool lora = !w.q_a.empty();
  kv_block_ = lora ? blocks_of(c.q_lora_rank) : n_query_blocks(c);
  latent_loads_ = query_in_.piece_loads();
  for (TileLoad& load : latent_loads_) load.tiles_per_block = lora ? load.tiles_per_block : query_tiles_;
  key_block_ = kv_block_ + blocks_of(cache_width(c));
  weights_block_ = key_block_ + blocks_of(c.indexer.head_dim);
  latent_part_loads_ = query_in_.part_loads();
  const auto add_latent_loads = [&](const PiecedProjection& weight, std::int64_t first_block) {
    for (TileLoad load : weight.piece_loads()) {
      load.first_block = first_block;
      latent_loads_.push_back(load);
    }
    for (const TileLoad& load : weight.part_loads()) latent_part_loads_.push_back(load);
  };
  add_latent_loads(kv_in_, kv_block_);
  add_latent_loads(indexer_.key_in(), key_block_);
  add_latent_loads(indexer_.weights_in(), weights_block_);
  for (const PackedMatrix& part : w.q_b) {
    query_loads_.push_back(load_of(part));
    query_loads_.back().tiles_per_block = query_tiles_;
  }
  for (const PackedMatrix& part : indexer_.query()) {
    query_loads_.push_back(load_of(part));
    query_loads_.back().first_block = n_query_blocks(c);
    query_loads_.back().tiles_per_block = indexer_.query_tiles();
  }
  for (std::size_t p = 0; p < w.k_b.size(); ++p) {  // the results of a strip of heads are a block
    absorb_loads_.push_back({.n_tiles = w.k_b[p].n_slices * w.k_b[p].n_tiles,
                             .tile_bytes = w.k_b[p].tile_bytes,
                             .part = static_cast<std::int32_t>(p),
                             .first_tile = plan.parts[p].begin * w.k_b[p].n_tiles,
                             .tiles_per_block = cpu::kStripLanes * w.k_b[p].n_tiles});
  }
  std::int64_t first = 0;
  for (const PackedMatrix& part : w.v_b) {
    value_loads_.push_back(
        {.n_tiles = part.n_slices * part.n_tiles,
         .tile_bytes = part.tile_bytes,
         .part = static_cast<std::int32_t>(part.part),
         .first_block = first,
         .tiles_per_block = part.n_out % cpu::kTileRows == 0 ? kBlockColumns / cpu::kTileRows : kWholeLoad});
    first_value_block_.push_back(first);
    first += blocks_of(part.n_slices * part.n_out);
  }
  phases_ = {latent_phase(), absorb_phase(), attention_phase(), value_phase(), output_.phase()};
  if (lora) phases_.insert(phases_.begin() + 1, query_phase());
  if (!indexer_.chooses()) return;
  choosing_phases_ = phases_;
  choosing_phases_.insert(choosing_phases_.begin() + 2, {choosing_phase(), masking_phase()});
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
  demand.part_rows(RowBuffer::kHeads, m, heads * c.v_head_dim);
  for (const WeightRole role : {kKB, kVB}) {
    const WeightPlan& w = *weights[role];
    demand.scratch(ThreadBuffer::kMatmul, multiply_scratch_bytes(w));
    demand.scratch(ThreadBuffer::kHeadActs, kHeadRows * std::max(cpu::act_row_bytes(w.layout->act, w.n_in),
                                                                 cpu::act_row_bytes(cpu::ActFormat::kF32, w.n_in)));
  }
  demand.scratch(ThreadBuffer::kAttention, std::max(absorbed_scratch_bytes(c), decompressed_scratch_bytes(c, m)));
  demand.blocks(std::max(c.n_heads, blocks_of(c.q_lora_rank)) + blocks_of(cache_width(c)) +
                blocks_of(c.indexer.head_dim) + blocks_of(c.indexer.n_heads));
  demand.blocks(c.n_heads + c.indexer.n_heads + kFewRows);
  PiecedProjection::add_demand({weights[kQ], weights[kQA], weights[kKvA], weights[kIndexK], weights[kIndexWeights]},
                               sizes, demand);
  Indexer::add_demand(plan, block, sizes, demand);
  demand_masks(c, sizes, demand);
  demand.blocks(blocks_of(c.n_heads * c.v_head_dim) + block.n_parts());
  demand_partials(c, sizes, demand);
  OutputProjection::add_demand(*weights[kAttentionOutput], sizes, demand);
}

std::int64_t MlaAttention::n_query_blocks(const ModelConfig& c) const {
  return query_tiles_ == kWholeLoad ? 1 : c.n_heads;
}

// ---- the phases -----------------------------------------------------------------------------------------------------

Phase MlaAttention::latent_phase() const {
  const MlaWeights& w = attention_.weights();
  const bool lora = !w.q_a.empty();
  return {
      .name = lora ? "q_a, kv_a" : "q, kv_a",
      .loads =
          [this](const Pass& pass) {
            const PiecedProjection& weights = indexer_.weights_in();
            return needed(pass.few() ? latent_loads_ : latent_part_loads_,
                          static_cast<std::size_t>(pass.few() ? weights.n_pieces() : weights.n_parts()), scores(pass));
          },
      .run =
          [this](Pass& pass, const cpu::Member& member, std::size_t load, const cpu::Range& tiles) {
            auto at = static_cast<std::int64_t>(load);
            for (const PiecedProjection* weight : {&query_in_, &kv_in_, &indexer_.key_in(), &indexer_.weights_in()}) {
              const std::int64_t n = pass.few() ? weight->n_pieces() : weight->n_parts();
              if (at >= 0 && at < n) weight->run(pass, member, at, tiles);
              at -= n;
            }
          },
      .finish_block = [this](Pass& pass, std::int64_t block) { finish_latent_block(pass, block); },
      .finish_part = [this](Pass& pass, std::int64_t part, std::int64_t block) { sum_latent_block(pass, part, block); },
      .finish =
          [this, lora](Pass& pass, std::int64_t i) {
            finish_latent_row(pass, i);
            if (!lora) return rotate_query_here(pass, i);
            for (std::int64_t b = 0; b < blocks_of(pass.config.q_lora_rank); ++b) weigh_query_block(pass, i, b);
            set_query_factor(pass, i);
          },
      .last =
          [this, lora](Pass& pass) {
            for (std::int64_t i = 0; lora && pass.few() && i < pass.n(); ++i) set_query_factor(pass, i);
            if (pass.few()) list_chunks(pass, attention_, chunks_, chunk_loads_);
            if (pass.few() && scores(pass)) {
              score_loads_.clear();
              indexer_.list_scores(pass, pass.config.n_heads, score_loads_);
              score_loads_.insert(score_loads_.end(), absorb_loads_.begin(), absorb_loads_.end());
            }
            absorbed_units_.reset();
            decompressed_units_.reset();
          },
      .work = [&w, lora](const Pass&) { return Work{bytes_of(lora ? w.q_a : w.q) + bytes_of(w.kv_a)}; },
      .taps = {tap_rows(kKvA, RowBuffer::kInput)},
      .joint =
          [this, lora](Pass& pass, std::vector<Region>& regions) {
            if (lora) query_in_.add_regions(pass, regions);  // else every part has the query of its own heads
            kv_in_.add_regions(pass, regions);
            indexer_.key_in().add_regions(pass, regions);
            if (scores(pass)) indexer_.weights_in().add_regions(pass, regions);
          }};
}

void MlaAttention::sum_latent_block(Pass& pass, std::int64_t part, std::int64_t block) const {
  const ModelConfig& c = pass.config;
  if (block >= weights_block_)
    return indexer_.weights_in().sum(pass, columns_of(block - weights_block_, c.indexer.n_heads), part);
  if (block >= key_block_) return indexer_.key_in().sum(pass, columns_of(block - key_block_, c.indexer.head_dim), part);
  if (block >= kv_block_) return kv_in_.sum(pass, columns_of(block - kv_block_, cache_width(c)), part);
  const std::int64_t d = head_dim(c);
  query_in_.sum(pass,
                !attention_.weights().q_a.empty() ? columns_of(block, c.q_lora_rank)
                : query_tiles_ != kWholeLoad      ? cpu::Range{block * d, (block + 1) * d}
                                                  : cpu::Range{0, c.n_heads * d},
                part);
}

void MlaAttention::finish_latent_block(Pass& pass, std::int64_t block) const {
  if (block >= weights_block_) return;
  if (block >= kv_block_) {
    const std::int64_t n_blocks = indexer_.chooses() ? weights_block_ - kv_block_ : key_block_ - kv_block_;
    for (std::int64_t i = 0, last = kv_blocks_done_.is_last_of(n_blocks); last && i < pass.n(); ++i)
      finish_latent_row(pass, i);
    return;
  }
  const bool lora = !attention_.weights().q_a.empty();
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    if (lora)
      weigh_query_block(pass, i, block);
    else
      rotate_query_block(pass, i, block);
  }
}

void MlaAttention::finish_latent_row(Pass& pass, std::int64_t i) const {
  write_cache_row(pass, i);
  if (indexer_.chooses()) indexer_.write_key(pass, i);
}

// Latent normalized, key rotated, row written to the cache.
void MlaAttention::write_cache_row(Pass& pass, std::int64_t i) const {
  const ModelConfig& c = pass.config;
  const MlaWeights& w = attention_.weights();
  float* kv = pass.buffer(RowBuffer::kKv).row(i);
  add_bias(kv, w.kv_a_bias);
  cpu::rms_norm(kv, w.kv_a_norm.data(), c.kv_lora_rank, static_cast<float>(c.rms_norm_eps), kv, pass.isa);
  cpu::rope_rotate(kv + c.kv_lora_rank, pass.space.array<float>(ArrayBuffer::kAngles) + i * c.rope.dim, c.rope.dim / 2);
  pass.cache.write_row(attention_.layer(), pass.row(i).sequence, pass.row(i).position, kv);
}

// A block of the query's latent, weighed by its norm and quantized; the norm's factor goes with the row.
void MlaAttention::weigh_query_block(Pass& pass, std::int64_t i, std::int64_t block) const {
  const MlaWeights& w = attention_.weights();
  const std::int64_t width = pass.config.q_lora_rank, begin = block * kBlockColumns,
                     n = std::min(width - begin, kBlockColumns);
  Activations& q_a = pass.buffer(RowBuffer::kQA);
  float* x = q_a.row(i) + begin;
  alignas(64) float sum[kBlockColumns];
  squares_of(pass, i, block) = cpu::add_and_weigh(
      {x, w.q_a_bias.empty() ? nullptr : w.q_a_bias.data() + begin, w.q_a_norm.data() + begin, n, sum, x}, pass.isa);
  q_a.quantize_block(i, block, width, pass.isa);
}

void MlaAttention::set_query_factor(Pass& pass, std::int64_t i) {
  pass.buffer(RowBuffer::kQA).set_factor(i, inverse_norm(pass, i, pass.config.q_lora_rank));
}

void MlaAttention::rotate_query(Pass& pass, std::int64_t i, std::int64_t begin, std::int64_t end) {
  const ModelConfig& c = pass.config;
  const float* angles = pass.space.array<float>(ArrayBuffer::kAngles) + i * c.rope.dim;
  float* q = pass.buffer(RowBuffer::kQuery).row(i) + c.qk_nope_head_dim;
  for (std::int64_t head = begin; head < end; ++head) cpu::rope_rotate(q + head * head_dim(c), angles, c.rope.dim / 2);
}

void MlaAttention::rotate_query_block(Pass& pass, std::int64_t i, std::int64_t block) const {
  if (query_tiles_ == kWholeLoad) return rotate_query_here(pass, i);
  rotate_query(pass, i, block, block + 1);
}

void MlaAttention::rotate_query_here(Pass& pass, std::int64_t i) const {
  const cpu::Range parts = pass.crews.parts_here();
  const std::vector<Span>& heads = attention_.weights().heads_of;
  rotate_query(pass, i, heads[static_cast<std::size_t>(parts.begin)].begin,
               heads[static_cast<std::size_t>(parts.end - 1)].end);
}

Phase MlaAttention::query_phase() const {
  const MlaWeights& w = attention_.weights();
  return {.name = "q_b",
          .loads = [this](const Pass& pass) { return needed(query_loads_, indexer_.query().size(), scores(pass)); },
          .run =
              [this, &w](Pass& pass, const cpu::Member& member, std::size_t load, const cpu::Range& tiles) {
                if (load < w.q_b.size())
                  project(pass, member, {w.q_b[load], tiles, RowBuffer::kQA, RowBuffer::kQuery});
                else
                  project(pass, member,
                          {indexer_.query()[load - w.q_b.size()], tiles, RowBuffer::kQA, RowBuffer::kIndexQuery});
              },
          .finish_block =
              [this](Pass& pass, std::int64_t block) {
                const std::int64_t n_own = n_query_blocks(pass.config);
                if (block >= n_own) return indexer_.finish_query_block(pass, block - n_own);
                for (std::int64_t i = 0; i < pass.n(); ++i) rotate_query_block(pass, i, block);
              },
          .finish =
              [this](Pass& pass, std::int64_t i) {
                rotate_query_here(pass, i);
                if (scores(pass)) indexer_.finish_query(pass, i);
              },
          .work =
              [this, &w](const Pass& pass) {
                return Work{bytes_of(w.q_b) + (scores(pass) ? bytes_of(indexer_.query()) : 0)};
              },
          .taps = {tap_rows(kQB, RowBuffer::kQA)},
          .end = !indexer_.chooses() && blocks_within_parts(query_loads_) ? PhaseEnd::kPart : PhaseEnd::kAll,
          .joint = indexer_.chooses() ? [this](Pass& pass, std::vector<Region>& regions) {
            if (scores(pass)) add_query_regions(pass, indexer_.query(), regions);
          } : std::function<void(Pass&, std::vector<Region>&)>()};
}

Phase MlaAttention::absorb_phase() const {
  const MlaWeights& w = attention_.weights();
  return {.name = "k_b",
          .loads =
              [this](const Pass& pass) {
                return std::span<const TileLoad>(pass.few() && scores(pass) ? score_loads_ : absorb_loads_);
              },
          .run =
              [this](Pass& pass, const cpu::Member& member, std::size_t load, const cpu::Range& tiles) {
                const std::size_t n_scores =
                    pass.few() && scores(pass) ? score_loads_.size() - absorb_loads_.size() : 0;
                if (load < n_scores)
                  indexer_.score(pass, score_loads_[load], tiles, pass.config.n_heads);
                else
                  absorb(pass, member, load - n_scores, tiles);
              },
          .finish_block =
              [this](Pass& pass, std::int64_t block) {
                const std::int64_t first_row = pass.config.n_heads;  // behind the strips' blocks
                if (block < first_row)
                  pack_strip(pass, attention_.layer(), block);
                else
                  indexer_.choose(pass, block - first_row);
              },
          .work = [&w](const Pass&) { return Work{bytes_of(w.k_b)}; },
          .taps = {{kKB,
                    [](const Pass& pass, const RowSink& sink) {
                      for (std::int64_t i = 0; i < pass.n(); ++i) {
                        const float* q = pass.buffer(RowBuffer::kQuery).row(i);
                        for (std::int64_t h = 0; h < pass.config.n_heads; ++h)
                          sink(h, q + h * head_dim(pass.config), 1.0f);
                      }
                    }}},
          .end = indexer_.chooses() ? PhaseEnd::kAll : attention_end()};
}

Phase MlaAttention::choosing_phase() const {
  return {.name = "index",
          .deal = [this](Pass& pass, const cpu::Member& member) { indexer_.choose_for_many(pass, member); }};
}

Phase MlaAttention::masking_phase() const {
  return {.name = "index masks",
          .deal = [this](Pass& pass, const cpu::Member& member) { mark_chosen(pass, member, attention_); }};
}

void MlaAttention::absorb(Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) const {
  const ModelConfig& c = pass.config;
  const std::int64_t d = head_dim(c), width = cache_width(c);
  const PackedMatrix& k_b = attention_.weights().k_b[part];
  Activations &q = pass.buffer(RowBuffer::kQuery), &absorbed = pass.buffer(RowBuffer::kAbsorbedQuery);
  for_each_head(k_b, tiles, [&](std::int64_t index, const cpu::Range& own) {
    const std::int64_t head = plan().parts[part].begin + index;
    for_each_absorbed(pass, attention_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; own.begin == 0 && i < end; ++i) {
        std::memcpy(absorbed.row(i) + head * width + c.kv_lora_rank, q.row(i) + head * d + c.qk_nope_head_dim,
                    static_cast<std::size_t>(c.qk_rope_head_dim) * sizeof(float));
      }
      multiply_head(pass, member,
                    {.weight = k_b,
                     .slice = index,
                     .tiles = own,
                     .n_rows = end - begin,
                     .out = absorbed.row(begin) + head * width,
                     .out_stride = absorbed.stride_floats()},
                    [&](std::int64_t i) { return q.row(begin + i) + head * d; });
    });
  });
}

Phase MlaAttention::attention_phase() const {
  return {.name = "attention",
          .loads = [this](const Pass&) { return std::span<const TileLoad>(chunk_loads_); },
          .run = [this](Pass& pass, const cpu::Member& member, std::size_t load,
                        const cpu::Range& strips) { attend_chunk(pass, member, attention_, chunks_[load], strips); },
          .deal =
              [this](Pass& pass, const cpu::Member& member) {
                attend_absorbed(pass, member, attention_, absorbed_units_);
                attend_decompressed(pass, member, attention_, decompressed_units_);
              },
          .work = [this](const Pass& pass) { return Work{pass.cache_bytes(attention_.layer())}; },
          .end = attention_end()};
}

Phase MlaAttention::value_phase() const {
  const MlaWeights& w = attention_.weights();
  return {.name = "v_b",
          .loads = [this](const Pass&) { return std::span<const TileLoad>(value_loads_); },
          .run = [this](Pass& pass, const cpu::Member& member, std::size_t part,
                        const cpu::Range& tiles) { carry_out(pass, member, part, tiles); },
          .finish_block = [this](Pass& pass, std::int64_t block) { quantize_value_block(pass, block); },
          .finish = [this](Pass& pass, std::int64_t i) { output_.quantize(pass, i); },
          .work = [&w](const Pass&) { return Work{bytes_of(w.v_b)}; },
          .taps = {{kVB,
                    [](const Pass& pass, const RowSink& sink) {
                      for (std::int64_t i = 0; i < pass.n(); ++i) {
                        const float* latent = pass.buffer(RowBuffer::kLatent).row(i);
                        for (std::int64_t h = 0; h < pass.config.n_heads; ++h)
                          sink(h, latent + h * pass.config.kv_lora_rank, 1.0f);
                      }
                    }}},
          .end = PhaseEnd::kPart};
}

void MlaAttention::carry_out(Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) const {
  const PackedMatrix& v_b = attention_.weights().v_b[part];
  for_each_head(v_b, tiles, [&](std::int64_t index, const cpu::Range& own) {
    const std::int64_t head = plan().parts[part].begin + index;
    for_each_absorbed(pass, attention_, [&](std::int64_t begin, std::int64_t end) {
      multiply_head(pass, member,
                    {.weight = v_b,
                     .slice = index,
                     .tiles = own,
                     .n_rows = end - begin,
                     .out = attention_.result(pass, head, begin),
                     .out_stride = pass.buffer(RowBuffer::kHeads).stride_floats()},
                    [&](std::int64_t i) { return absorbed_result(pass, member, head, begin + i, own.begin == 0); });
    });
  });
}

void MlaAttention::quantize_value_block(Pass& pass, std::int64_t block) const {
  std::size_t part = first_value_block_.size() - 1;
  while (block < first_value_block_[part]) --part;
  if (value_loads_[part].tiles_per_block != kWholeLoad)
    return output_.quantize_block(pass, part, block - first_value_block_[part]);
  for (std::int64_t b = 0; b < blocks_of(output_.width(part)); ++b) output_.quantize_block(pass, part, b);
}

}  // namespace dodeca::runtime::exec
