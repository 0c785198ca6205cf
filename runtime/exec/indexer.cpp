#include "runtime/exec/indexer.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/kernels/index/index.hpp"
#include "cpu/kernels/rope/rope.hpp"

namespace dodeca::runtime::exec {
namespace {

using enum WeightRole;

constexpr double kKeyNormEps = 1e-6;                    // of every published model, whatever its other norms have
constexpr std::int64_t kPositions = cpu::kWeightBlock;  // of a block of the cache

// Room for scores of so many positions, in whole blocks.
std::int64_t with_slack(std::int64_t n_positions) {
  return (n_positions + cpu::kChooseSlack + kPositions - 1) / kPositions * kPositions;
}

// Rows of a prompt that share the reading of keys, so that their scores stay within a few MB.
std::int64_t rows_at_once(std::int64_t n_positions) {
  constexpr std::int64_t kScores = 1 << 19;
  return std::clamp<std::int64_t>(kScores / n_positions, 1, kRowGroup);
}

// Of the space for scores: the floats of a row, then as many numbers for choosing; both with some more.
std::int64_t scored_positions(const Pass& pass) {
  const std::int64_t rows = std::min(pass.buffer(RowBuffer::kResidual).n_rows(), kFewRows);
  return static_cast<std::int64_t>(pass.space.array_bytes(ArrayBuffer::kIndexScores) / (2 * sizeof(float))) / rows;
}
float* scores_of(const Pass& pass, std::int64_t i) {
  return pass.space.array<float>(ArrayBuffer::kIndexScores) + 2 * i * scored_positions(pass);
}

}  // namespace

Indexer::Indexer(const Model& model, const BlockPlan& plan, std::int64_t first_piece)
    : layer_(plan.layer),
      key_norm_(model.weights().vector({kIndexKNorm, plan.layer})),
      key_norm_bias_(model.weights().vector({kIndexKNormBias, plan.layer})),
      query_(model.weights().parts({kIndexQ, plan.layer})),
      key_in_(model.weights().parts({kIndexK, plan.layer}),
              {.acts = RowBuffer::kInput, .out = RowBuffer::kIndexKey, .first_piece = first_piece}),
      weights_in_(model.weights().parts({kIndexWeights, plan.layer}),
                  {.acts = RowBuffer::kInput,
                   .out = RowBuffer::kIndexWeights,
                   .first_piece = first_piece + key_in_.n_pieces()}) {
  const std::int64_t head_dim = model.config().indexer.head_dim;
  query_tiles_ = head_dim % cpu::kTileRows == 0 ? head_dim / cpu::kTileRows : kWholeLoad;
}

void Indexer::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  const ModelConfig& c = plan.config;
  if (!c.is_sparse(block.layer)) return;
  const std::int64_t m = sizes.micro_batch, few = std::min(m, kFewRows),
                     positions = with_slack(sizes.n_positions + kPositions);
  if (may_be_sparse(c, sizes.n_positions))
    demand.array(ArrayBuffer::kChosen, m * c.indexer.top_k, sizeof(std::int32_t));
  if (!c.chooses(block.layer)) return;
  const PlannedWeights weights(plan, block);
  for (const WeightRole role : {kIndexK, kIndexWeights}) demand.read_by(RowBuffer::kInput, weights[role]);
  demand.read_by(RowBuffer::kQA, weights[kIndexQ]);
  demand.rows(RowBuffer::kIndexKey, m, c.indexer.head_dim);
  demand.rows(RowBuffer::kIndexWeights, m, c.indexer.n_heads);
  demand.rows(RowBuffer::kIndexQuery, m, c.indexer.n_heads * c.indexer.head_dim);
  const cpu::IndexShape shape{cpu::IndexNumbers::kFloats, c.indexer.n_heads, c.indexer.head_dim};  // the wider ones
  demand.array(ArrayBuffer::kIndexStrips, m * shape.strips(), cpu::index_strip_bytes(shape));
  demand.array(ArrayBuffer::kIndexScores, few * positions, 2 * sizeof(float));
  demand.scratch(ThreadBuffer::kIndex,
                 static_cast<std::size_t>((rows_at_once(positions) + 1) * positions) * sizeof(float));
}

// ---- keys -----------------------------------------------------------------------------------------------------------

void Indexer::rotate(const Pass& pass, std::int64_t i, float* head) const {
  const ModelConfig& c = pass.config;
  const float* angles = pass.space.array<float>(ArrayBuffer::kAngles) + i * c.rope.dim;
  (c.indexer.pairing == RopePairing::kHalves ? cpu::rope_rotate_halves : cpu::rope_rotate)(head, angles,
                                                                                           c.rope.dim / 2);
}

void Indexer::write_key(Pass& pass, std::int64_t i) const {
  float* key = pass.buffer(RowBuffer::kIndexKey).row(i);
  const std::int64_t n = pass.config.indexer.head_dim;
  double sum = 0, squares = 0;
  for (std::int64_t d = 0; d < n; ++d) sum += key[d];
  const double mean = sum / static_cast<double>(n);
  for (std::int64_t d = 0; d < n; ++d) squares += (key[d] - mean) * (key[d] - mean);
  const double factor = 1.0 / std::sqrt(squares / static_cast<double>(n) + kKeyNormEps);
  for (std::int64_t d = 0; d < n; ++d)
    key[d] = static_cast<float>((key[d] - mean) * factor) * key_norm_[d] + key_norm_bias_[d];
  rotate(pass, i, key);
  pass.cache.write_index_row(layer_, pass.row(i).sequence, pass.row(i).position, key);
}

// ---- queries --------------------------------------------------------------------------------------------------------

std::byte* Indexer::strips(const Pass& pass, std::int64_t i) const {
  const cpu::IndexShape& s = shape(pass);
  return pass.space.array<std::byte>(ArrayBuffer::kIndexStrips) +
         static_cast<std::size_t>(i * s.strips()) * cpu::index_strip_bytes(s);
}

void Indexer::pack_heads(Pass& pass, std::int64_t i, std::int64_t begin, std::int64_t end) const {
  const IndexerConfig& c = pass.config.indexer;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.n_heads * c.head_dim)));
  const float* weights = pass.buffer(RowBuffer::kIndexWeights).row(i);
  for (std::int64_t head = begin; head < end; ++head) {
    float* query = pass.buffer(RowBuffer::kIndexQuery).row(i) + head * c.head_dim;
    rotate(pass, i, query);
    cpu::pack_index_query(shape(pass), head, query, weights[head] * scale, strips(pass, i));
  }
}

void Indexer::finish_query_block(Pass& pass, std::int64_t block) const {
  const std::int64_t n = pass.config.indexer.n_heads;
  const bool whole = query_tiles_ == kWholeLoad;
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    if (pass.is_sparse(i)) pack_heads(pass, i, whole ? 0 : block, whole ? n : block + 1);
  }
}

void Indexer::finish_query(Pass& pass, std::int64_t i) const {
  if (pass.is_sparse(i)) pack_heads(pass, i, 0, pass.config.indexer.n_heads);
}

// ---- scores ---------------------------------------------------------------------------------------------------------

void Indexer::score_block(const Pass& pass, std::int64_t i, std::int64_t begin, std::int64_t end, std::size_t part,
                          float* scores) const {
  const std::int32_t sequence = pass.row(i).sequence;
  const bool goes_on = pass.row(i).position >= begin + kPositions;
  cpu::index_scores({.shape = shape(pass),
                     .queries = strips(pass, i),
                     .keys = pass.cache.index_block(layer_, sequence, begin, part),
                     .n = end - begin,
                     .scores = scores + begin,
                     .ahead = goes_on ? pass.cache.index_block(layer_, sequence, begin + kPositions, part) : nullptr},
                    pass.isa);
}

void Indexer::list_scores(const Pass& pass, std::int64_t first_block, std::vector<TileLoad>& loads) const {
  const cpu::Range parts = pass.crews.parts_here();
  const std::int64_t n_parts = parts.end - parts.begin;
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    if (!pass.is_sparse(i)) continue;
    const std::int64_t n_blocks = pass.row(i).position / kPositions + 1;
    for (std::int64_t p = 0; p < n_parts; ++p) {
      const std::int64_t begin = n_blocks * p / n_parts, end = n_blocks * (p + 1) / n_parts;
      if (begin == end) continue;
      loads.push_back({.n_tiles = end - begin,
                       .tile_bytes = static_cast<std::uint64_t>(kPositions) * cpu::index_row_bytes(shape(pass)),
                       .part = static_cast<std::int32_t>(parts.begin + p),
                       .first_block = first_block + i,
                       .first_tile = begin,
                       .tiles_per_block = kWholeLoad});
    }
  }
}

void Indexer::score(Pass& pass, const TileLoad& load, const cpu::Range& tiles, std::int64_t first_block) const {
  const std::int64_t i = load.first_block - first_block, seen = pass.row(i).position + 1;
  for (std::int64_t t = tiles.begin; t < tiles.end; ++t) {
    const std::int64_t begin = (load.first_tile + t) * kPositions;
    score_block(pass, i, begin, std::min(seen, begin + kPositions), static_cast<std::size_t>(load.part),
                scores_of(pass, i));
  }
}

void Indexer::choose(Pass& pass, std::int64_t i) const {
  float* scores = scores_of(pass, i);
  cpu::choose_highest({scores, pass.row(i).position + 1, pass.config.indexer.top_k,
                       reinterpret_cast<std::int32_t*>(scores + scored_positions(pass)), pass.chosen(i)},
                      pass.isa);
}

void Indexer::choose_for_many(Pass& pass, const cpu::Member& member) const {
  const std::int64_t positions = scored_positions(pass), most = rows_at_once(positions);
  const auto part = static_cast<std::size_t>(pass.crews.place(member).first_part);
  auto* scores = reinterpret_cast<float*>(pass.space.scratch(member, ThreadBuffer::kIndex));
  std::int64_t unit = 0;
  for (std::int64_t first = 0, n = 0; first < pass.n(); first += n) {
    n = 1;
    if (!pass.is_sparse(first)) continue;
    const std::int32_t sequence = pass.row(first).sequence;
    while (n < most && first + n < pass.n() && pass.row(first + n).sequence == sequence) ++n;
    if (unit++ % member.size != member.index) continue;
    for (std::int64_t begin = 0; begin <= pass.row(first + n - 1).position; begin += kPositions) {
      for (std::int64_t r = 0; r < n; ++r) {
        const std::int64_t end = std::min<std::int64_t>(pass.row(first + r).position + 1, begin + kPositions);
        if (begin < end) score_block(pass, first + r, begin, end, part, scores + r * positions);
      }
    }
    for (std::int64_t r = 0; r < n; ++r)
      cpu::choose_highest({scores + r * positions, pass.row(first + r).position + 1, pass.config.indexer.top_k,
                           reinterpret_cast<std::int32_t*>(scores + most * positions), pass.chosen(first + r)},
                          pass.isa);
  }
}

}  // namespace dodeca::runtime::exec
