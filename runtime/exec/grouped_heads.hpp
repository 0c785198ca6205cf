// What grouped-query attention knows of its heads: which query heads share a key-value head, what part has it, what
// positions a row sees, and where results go. A "head" is a key-value head here, unless it says query head.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "runtime/exec/block.hpp"
#include "runtime/exec/softmax_state.hpp"

namespace dodeca::runtime::exec {

// How the context of a generated row is cut: `count` chunks of `length` positions from `begin` on (the last may be
// shorter), each folded into a result of its own; results are merged in order. As for latent attention (ContextCut) it
// depends on the row's own position alone, and rows of a RowGroup share it. A head and a chunk are the work of one
// member: 64 to 192 such pieces feed as many.
struct GroupedCut {
  std::int64_t begin = 0, length = 0, count = 0;
  std::int64_t chunk_begin(std::int64_t chunk) const { return begin + chunk * length; }
};
GroupedCut grouped_cut(const ModelConfig& config, std::int64_t window, std::int64_t position);
// The most chunks of a row in a cache of `n_positions`, in whole blocks.
std::int64_t most_grouped_chunks(const ModelConfig& config, std::int64_t n_positions);

class GroupedHeads {
 public:
  GroupedHeads(const Model& model, const BlockPlan& plan);

  std::int64_t layer() const { return layer_; }
  std::int64_t window() const { return window_; }
  std::int64_t group() const { return group_; }  // query heads of a head
  std::int64_t dim() const { return dim_; }
  float scale() const { return scale_; }
  std::size_t part_of(std::int64_t head) const { return part_of_[static_cast<std::size_t>(head)]; }
  // Of a part, of a crew's parts, and of the parts that are worked on in this process.
  Span of_part(std::size_t part) const { return parts_[part]; }
  Span of_crew(const cpu::CrewPlace& place) const {
    return {parts_[static_cast<std::size_t>(place.first_part)].begin,
            parts_[static_cast<std::size_t>(place.end_part - 1)].end};
  }
  Span here(const Pass& pass) const;
  std::size_t n_parts() const { return parts_.size(); }

  // The first position that a row sees.
  std::int64_t first_seen(const Row& row) const {
    return window_ > 0 ? std::max<std::int64_t>(0, row.position + 1 - window_) : 0;
  }
  // Whether a row takes the form of prompts: by its kind alone, so that its bits do not depend on its companions.
  bool is_prompt(const Pass& pass, const Row& row) const noexcept {
    return row.prompt && pass.cache.format(layer_).integer.has_value();
  }
  // Whether generated rows attend in integers: where keys or values are bytes. Else a chunk's few lanes do not pay for
  // making its numbers whole; float32 products with decoded rows take half the time.
  bool in_integers(const Pass& pass) const noexcept {
    const RowFormat& format = pass.cache.format(layer_);
    return format.integer &&
           (format.integer->digits == cpu::Digits::k8 || format.integer->value_digits == cpu::Digits::k8);
  }
  // Of positions [position, position + n), those that a row sees: from the first number to the second, counted from
  // `position` on.
  cpu::Range seen(const Row& row, std::int64_t position, std::int64_t n) const {
    const std::int64_t end = std::clamp<std::int64_t>(row.position + 1 - position, 0, n);
    return {std::clamp<std::int64_t>(first_seen(row) - position, 0, end), end};
  }
  // A head's queries of some rows side by side, [rows, group * dim], times the factor of a norm over all of a row.
  void gather_queries(const Pass& pass, std::int64_t head, const cpu::Range& rows, float* to) const noexcept;
  // A head's results of row i, [group * dim], input of the output projection.
  float* result(const Pass& pass, std::int64_t head, std::int64_t i) const;
  // The softmax's share of a query head's values that its sum and its sink leave: what acc is multiplied with.
  float share(std::int64_t query_head, float max, float sum) const noexcept;

 private:
  std::int64_t layer_, window_, group_, dim_;
  float scale_;
  std::span<const float> sinks_;  // [query heads], or none
  std::vector<Span> parts_;
  std::vector<std::size_t> part_of_;
};

// Where a head's keys and values of the blocks from a position on lie; the position may be within a block.
struct CachedBlocks {
  static constexpr std::int64_t kMost = cpu::kChunkPositions / cpu::kWeightBlock;
  const std::byte* keys[kMost] = {};  // as many as there are blocks
  const std::byte* values[kMost] = {};

  CachedBlocks(const Pass& pass, const GroupedHeads& heads, std::int32_t sequence, std::int64_t head,
               std::int64_t position, std::int64_t n) {
    const RowFormat& format = pass.cache.format(heads.layer());
    const std::int64_t inside = position % cpu::kContextBlock;
    for (std::int64_t i = 0; i < n; i += cpu::kWeightBlock) {
      const std::byte* block = pass.cache.block(heads.layer(), sequence, position - inside + i, heads.part_of(head));
      keys[i / cpu::kWeightBlock] = block + format.keys_at(head) + static_cast<std::size_t>(inside) * format.key_bytes;
      values[i / cpu::kWeightBlock] =
          block + format.values_at(head) + static_cast<std::size_t>(inside) * format.value_bytes;
    }
  }
};

// What a member will load next, which a fold fetches meanwhile: up to a chunk of a head's keys and values from a
// position on, as far as the context reaches that `end` ends.
struct ComingBlocks {
  const std::byte* pieces[2 * CachedBlocks::kMost] = {};
  std::int64_t n_pieces = 0;

  ComingBlocks() = default;
  ComingBlocks(const Pass& pass, const GroupedHeads& heads, std::int32_t sequence, std::int64_t head,
               const cpu::Range& positions) {
    const std::int64_t position = positions.begin,
                       n = std::min<std::int64_t>(positions.end - position, cpu::kChunkPositions);
    if (n <= 0) return;
    const CachedBlocks blocks(pass, heads, sequence, head, position, n);
    const std::int64_t n_blocks = (n + cpu::kWeightBlock - 1) / cpu::kWeightBlock;
    for (std::int64_t b = 0; b < n_blocks; ++b) pieces[n_pieces++] = blocks.keys[b];
    for (std::int64_t b = 0; b < n_blocks; ++b) pieces[n_pieces++] = blocks.values[b];
  }
  // Of FoldArgs and MlaBlockArgs.
  template <class Args>
  void into(Args& fold, const RowFormat& format) const {
    fold.ahead = pieces;
    fold.n_ahead = n_pieces;
    fold.ahead_bytes = cpu::kWeightBlock * std::max(format.key_bytes, format.value_bytes);
  }
};

}  // namespace dodeca::runtime::exec
