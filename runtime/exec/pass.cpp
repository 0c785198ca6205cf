#include "runtime/exec/pass.hpp"

#include <algorithm>

#include "cpu/kernels/attention/integer_kernels.hpp"

namespace dodeca::runtime::exec {

namespace {

// Positions times groups of heads from which on more, shorter chunks are worth what each costs: loading its rows for the
// groups of one member, which few groups do not share, and a merge.
constexpr std::int64_t kWorthwhile = 512;

// Wanted where `seen` positions are visible.
std::int64_t chunks_wanted(const ModelConfig& config, std::int64_t seen) {
  const std::int64_t strips = std::max<std::int64_t>(1, config.n_heads / cpu::kStripLanes);
  const std::int64_t few = std::min(64 / strips, seen / 64 * strips + seen % 64 * strips / 64), many = 192 / strips;
  return std::max<std::int64_t>(1, seen / many * strips >= kWorthwhile ? many : few);
}

}  // namespace

ContextCut context_cut(const ModelConfig& config, std::int64_t position) {
  const std::int64_t seen = (position / kRowGroup + 1) * kRowGroup, wanted = chunks_wanted(config, seen);
  std::int64_t length = (seen + wanted - 1) / wanted;
  if (length >= 256) length = (length + 63) / 64 * 64;  // whole blocks of the cache
  return {length, position / length + 1};
}

std::int64_t most_chunks(const ModelConfig& config, std::int64_t n_positions) {
  // It grows with the position, and a cache holds whole blocks.
  return chunks_wanted(config, (n_positions + cpu::kWeightBlock - 1) / cpu::kWeightBlock * cpu::kWeightBlock);
}

Pass::Pass(const ModelConfig& model, cpu::Isa level, KvCache& kv_cache, Workspace& workspace,
           const cpu::Crews& its_crews, std::span<const Row> its_rows, bool drafts)
    : config(model),
      isa(level),
      cache(kv_cache),
      space(workspace),
      crews(its_crews),
      rows(its_rows),
      first_partial{0},
      top_k_(drafts || model.indexer.n_heads == 0 ? 0 : model.indexer.top_k),
      few_(n() <= kFewRows) {
  for (std::int64_t i = 0; i < n(); ++i) {
    first_partial.push_back(first_partial.back() + context_cut(config, last_attended(i)).count);
    any_sparse_ = any_sparse_ || is_sparse(i);
    few_ = few_ && !row(i).prompt;
    const bool continues = i > 0 && row(i - 1).sequence == row(i).sequence;
    if (continues && row(i).position % kRowGroup != 0 && !is_sparse(i))
      ++groups.back().count;
    else
      groups.push_back({i, 1});
    if (!row(i).wants_logits && !row(i).wants_hidden) continue;
    if (row(i).wants_logits) logit_rows.push_back(static_cast<std::int32_t>(wanted.size()));
    wanted.push_back(i);
  }
}

std::uint64_t Pass::cache_bytes(std::int64_t layer) const {
  const std::int64_t window = config.layer(layer).window;
  std::uint64_t positions = 0;
  for (std::int64_t i = 0; i < n(); ++i) {
    const bool is_last = i + 1 == n() || row(i + 1).sequence != row(i).sequence;
    if (!is_last && !is_sparse(i)) continue;
    const std::int64_t seen = last_attended(i) + 1;
    positions += static_cast<std::uint64_t>(window > 0 ? std::min(seen, window) : seen);
  }
  return positions * cache.format(layer).row_bytes;
}

}  // namespace dodeca::runtime::exec
