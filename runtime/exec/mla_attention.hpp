// Multi-head latent attention (DeepSeek-V2 paper, section 2.1). Generated rows take the absorbed form: the query is
// carried into the latent space by k_b, the latent rows serve as keys and values of every head, and v_b carries the
// result out (attention_absorbed.hpp). Prompt rows take the decompressed form (attention_decompressed.hpp).
#pragma once

#include <vector>

#include "runtime/exec/indexer.hpp"
#include "runtime/exec/output_projection.hpp"
#include "runtime/exec/pieced_projection.hpp"

namespace dodeca::runtime::exec {

// Weights of one layer's attention, each in one part per part of the heads.
struct MlaWeights {
  MlaWeights(const Model& model, const BlockPlan& plan);

  std::span<const float> norm, q_a_norm, q_a_bias, kv_a_norm, kv_a_bias, output_bias;  // biases may be empty
  std::span<const PackedMatrix> q;         // [heads * (nope + rope)] x hidden, without q_lora
  std::span<const PackedMatrix> q_a, q_b;  // with q_lora
  std::span<const PackedMatrix> kv_a;      // [latent + rope] x hidden
  std::span<const PackedMatrix> k_b, v_b;  // heads x [latent] x nope, heads x [v] x latent
  std::span<const PackedMatrix> output;    // hidden x [heads * v]

  // Where a head's weights and results lie.
  struct Head {
    std::size_t part = 0;
    std::int64_t index = 0;  // in the part
  };
  std::vector<Head> heads;     // [n_heads]
  std::vector<Span> heads_of;  // of each part
  // Strips of heads that each part attends with: those whose first head it has, or, where other parts are other
  // processes', any of its heads.
  std::vector<Span> strips_of;
  bool strips_within_parts = true;  // no strip has heads of two parts
};

// How heads attend; what both forms and the per-head products work on.
class LatentAttention {
 public:
  LatentAttention(const Model& model, const BlockPlan& plan);

  const MlaWeights& weights() const { return weights_; }
  std::int64_t layer() const { return layer_; }
  const MlaWeights::Head& head(std::int64_t h) const { return weights_.heads[h]; }
  const PackedMatrix& k_b(std::int64_t h) const { return weights_.k_b[head(h).part]; }
  const PackedMatrix& v_b(std::int64_t h) const { return weights_.v_b[head(h).part]; }
  // The heads that a crew works on.
  Span heads(const cpu::CrewPlace& place) const {
    return {weights_.heads_of[place.first_part].begin, weights_.heads_of[place.end_part - 1].end};
  }
  // A head's results of row i, input of the output projection.
  float* result(const Pass& pass, std::int64_t h, std::int64_t i) const {
    const MlaWeights::Head& at = head(h);
    Activations& heads = pass.buffer(RowBuffer::kHeads);
    return heads.row(heads.first_row(static_cast<std::int64_t>(at.part)) + i) + at.index * pass.config.v_head_dim;
  }
  // Whether row i takes the decompressed form: by its kind and position alone, so that its bits do not depend on its
  // companions.
  bool is_decompressed(const Pass& pass, std::int64_t i) const noexcept;

 private:
  MlaWeights weights_;
  std::int64_t layer_;
  bool can_decompress_;
};

class MlaAttention final : public Block {
 public:
  MlaAttention(const Model& model, const BlockPlan& plan);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);

  std::span<const Phase> phases(const Pass& pass) const override {
    return indexer_.chooses() && pass.any_sparse() && !pass.few() ? choosing_phases_ : phases_;
  }
  std::span<const float> norm() const override { return attention_.weights().norm; }
  std::span<const std::int32_t> output_parts() const override { return output_.parts(); }

 private:
  Phase latent_phase() const;
  Phase query_phase() const;
  Phase absorb_phase() const;
  Phase choosing_phase() const, masking_phase() const;  // many rows; with few it is done beside k_b
  Phase attention_phase() const;
  Phase value_phase() const;
  // Whether the members score positions in this pass.
  bool scores(const Pass& pass) const { return indexer_.chooses() && pass.any_sparse(); }
  // The loads of a phase, without those behind them that only sparse rows need.
  static std::span<const TileLoad> needed(std::span<const TileLoad> loads, std::size_t n_optional, bool all) {
    return all ? loads : loads.first(loads.size() - n_optional);
  }
  void finish_latent_row(Pass& pass, std::int64_t i) const;
  // Of phases whose results are strips of heads.
  PhaseEnd attention_end() const { return attention_.weights().strips_within_parts ? PhaseEnd::kPart : PhaseEnd::kAll; }

  std::int64_t n_query_blocks(const ModelConfig& config) const;
  void sum_latent_block(Pass& pass, std::int64_t part, std::int64_t block) const;
  void finish_latent_block(Pass& pass, std::int64_t block) const;
  void write_cache_row(Pass& pass, std::int64_t i) const;
  void weigh_query_block(Pass& pass, std::int64_t i, std::int64_t block) const;
  static void set_query_factor(Pass& pass, std::int64_t i);
  static void rotate_query(Pass& pass, std::int64_t i, std::int64_t begin, std::int64_t end);  // heads
  void rotate_query_block(Pass& pass, std::int64_t i, std::int64_t block) const;
  void rotate_query_here(Pass& pass, std::int64_t i) const;  // all heads of the parts here
  // The query of a head into the latent space, and the result out of it.
  void absorb(Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) const;
  void carry_out(Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) const;
  void quantize_value_block(Pass& pass, std::int64_t block) const;

  LatentAttention attention_;
  OutputProjection output_;
  std::int64_t query_tiles_ = 0;       // of one head's query; kWholeLoad where heads share tiles
  PiecedProjection query_in_, kv_in_;  // q_a (or q), kv_a
  Indexer indexer_;
  // Of the first phase's results: the cache row behind those of the query, the index key, the weights of the index
  // heads.
  std::int64_t kv_block_ = 0, key_block_ = 0, weights_block_ = 0;
  std::vector<TileLoad> latent_loads_, latent_part_loads_;          // of q_a (or q), kv_a, the index key and weights
  std::vector<TileLoad> query_loads_, absorb_loads_, value_loads_;  // of q_b and the index queries, k_b, v_b
  std::vector<std::int64_t> first_value_block_;                     // per part, of the results of v_b
  std::vector<Phase> phases_, choosing_phases_;
  // Of the context of few rows, listed behind the first phase.
  mutable std::vector<ContextChunk> chunks_;
  mutable std::vector<TileLoad> chunk_loads_;
  mutable std::vector<TileLoad> score_loads_;  // of the positions of sparse rows, then those of k_b
  mutable Arrivals kv_blocks_done_;
  mutable cpu::CrewCounters absorbed_units_, decompressed_units_;
};

}  // namespace dodeca::runtime::exec
