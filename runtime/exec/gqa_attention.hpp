// Grouped-query attention: some query heads share the keys and values of one head. Optional parts, by the model's
// configuration: biases, norms of queries and keys (of each head, or of all of them at once), rope on the first
// dimensions of a head, windows, sinks. Four phases for generated rows: q, k, v; attention over (head, context chunk);
// merge; output projection. The norm over all of a row's queries is a factor that goes with the row (kQuery's).
#pragma once

#include "runtime/exec/attention_grouped.hpp"
#include "runtime/exec/output_projection.hpp"
#include "runtime/exec/pieced_projection.hpp"

namespace dodeca::runtime::exec {

class GqaAttention final : public Block {
 public:
  GqaAttention(const Model& model, const BlockPlan& plan);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);

  std::span<const Phase> phases(const Pass& pass) const override { return pass.few() ? few_phases_ : many_phases_; }
  std::span<const float> norm() const override { return norm_; }
  std::span<const std::int32_t> output_parts() const override { return output_.parts(); }

 private:
  Phase input_phase() const;
  Phase attention_phase() const;
  Phase merge_phase() const;

  // Blocks of the first phase's results: a query head, a head's key, a head's value, where heads are whole tiles; else
  // all queries, all keys, all values.
  struct Place {
    enum class Kind { kQuery, kKey, kValue } kind;
    Span heads;  // of its kind
  };
  Place place_of(const Pass& pass, std::int64_t block) const;
  std::int64_t n_blocks(std::int64_t heads) const { return head_tiles_ == kWholeLoad ? 1 : heads; }
  void sum_block(Pass& pass, std::int64_t part, std::int64_t block) const;
  void finish_block(Pass& pass, std::int64_t block) const;
  void finish_row(Pass& pass, std::int64_t i) const;
  void finish_query(Pass& pass, std::int64_t i, std::int64_t query_head) const;
  void finish_key(Pass& pass, std::int64_t i, std::int64_t head) const;
  void finish_keys(Pass& pass, std::int64_t i, const Span& heads) const;
  void finish_value(Pass& pass, std::int64_t i, std::int64_t head) const;
  void set_query_factor(Pass& pass, std::int64_t i) const;
  void rotate(const Pass& pass, std::int64_t i, float* head) const;

  GroupedHeads heads_;
  const QkNorm qk_norm_;
  std::span<const float> norm_, q_bias_, k_bias_, v_bias_, q_norm_, k_norm_;  // biases and norms may be empty
  OutputProjection output_;
  PiecedProjection query_in_, key_in_, value_in_;
  std::int64_t head_tiles_ = 0;                   // of one head; kWholeLoad where heads share tiles
  std::int64_t key_block_ = 0, value_block_ = 0;  // the first of each
  std::vector<TileLoad> piece_loads_, part_loads_, merge_loads_;
  std::vector<Phase> few_phases_, many_phases_;
  mutable GroupedChunks chunks_;  // of the context of few rows, listed behind the first phase
  mutable Arrivals keys_done_;
  mutable cpu::CrewCounters grouped_units_, prompt_units_;
};

}  // namespace dodeca::runtime::exec
