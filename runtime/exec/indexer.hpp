// The indexer of sparse attention (DeepSeek-V3.2-Exp report, section 2.1): which cached positions a row attends to. Its
// work is done inside the phases of latent attention: the position's key and the heads' weights beside q_a and kv_a,
// the heads' queries beside q_b, and the scores of all positions beside k_b, behind which the top_k highest are chosen.
// Rows that see no more positions than that attend to all of them, and nothing is scored.
//
// Heads are not cut: positions are dealt to all members, whatever part they work on, and where parts are in processes
// of their own, each process scores all positions.
#pragma once

#include <vector>

#include "runtime/exec/pieced_projection.hpp"

namespace dodeca::runtime::exec {

class Indexer {
 public:
  // first_piece: of the key's weight, among those of its phase.
  Indexer(const Model& model, const BlockPlan& plan, std::int64_t first_piece);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);
  // False: the layer is dense, or takes what an earlier one chose.
  bool chooses() const { return !query_.empty(); }

  // ---- beside q_a and kv_a: the key, then the weights, which only sparse rows need
  const PiecedProjection& key_in() const { return key_in_; }
  const PiecedProjection& weights_in() const { return weights_in_; }
  // Normalizes and rotates row i's key and writes it to the cache.
  void write_key(Pass& pass, std::int64_t i) const;

  // ---- beside q_b
  std::span<const PackedMatrix> query() const { return query_; }
  std::int64_t n_query_blocks(const ModelConfig& config) const {
    return query_tiles_ == kWholeLoad ? 1 : config.indexer.n_heads;
  }
  std::int64_t query_tiles() const { return query_tiles_; }  // of a block of results
  // Rotates and packs the queries of a block, or of all heads, of the sparse rows.
  void finish_query_block(Pass& pass, std::int64_t block) const;
  void finish_query(Pass& pass, std::int64_t i) const;

  // ---- beside k_b, few rows: loads of 64 positions; those of row i belong to block first_block + i
  void list_scores(const Pass& pass, std::int64_t first_block, std::vector<TileLoad>& loads) const;
  void score(Pass& pass, const TileLoad& load, const cpu::Range& tiles, std::int64_t first_block) const;
  void choose(Pass& pass, std::int64_t i) const;

  // ---- many rows: all of it, by all members
  void choose_for_many(Pass& pass, const cpu::Member& member) const;

 private:
  const cpu::IndexShape& shape(const Pass& pass) const { return *pass.cache.format(layer_).index; }
  std::byte* strips(const Pass& pass, std::int64_t i) const;
  void pack_heads(Pass& pass, std::int64_t i, std::int64_t begin, std::int64_t end) const;
  void rotate(const Pass& pass, std::int64_t i, float* head) const;
  // Of positions [begin, end) of a block of the cache; those of the next one are fetched.
  void score_block(const Pass& pass, std::int64_t i, std::int64_t begin, std::int64_t end, std::size_t part,
                   float* scores) const;

  std::int64_t layer_;
  std::span<const float> key_norm_, key_norm_bias_;
  std::span<const PackedMatrix> query_;
  PiecedProjection key_in_, weights_in_;
  std::int64_t query_tiles_;
};

}  // namespace dodeca::runtime::exec
