#include "runtime/exec/pass.hpp"

namespace dodeca::runtime {

Pass::Pass(const ModelConfig& model, cpu::Isa level, KvCache& kv_cache, Workspace& workspace,
           std::span<const Row> its_rows)
    : config(model), isa(level), cache(kv_cache), space(workspace), rows(its_rows), first_partial{0} {
  for (std::int64_t i = 0; i < n(); ++i) {
    first_partial.push_back(first_partial.back() + chunks_of(row(i)));
    const bool continues = i > 0 && row(i - 1).sequence == row(i).sequence;
    if (continues && groups.back().count < kRowGroup)
      ++groups.back().count;
    else
      groups.push_back({i, 1});
    if (!row(i).wants_logits && !row(i).wants_hidden) continue;
    if (row(i).wants_logits) logit_rows.push_back(static_cast<std::int32_t>(wanted.size()));
    wanted.push_back(i);
  }
}

std::uint64_t Pass::cache_bytes(std::int64_t layer) const {
  std::uint64_t positions = 0;
  for (std::int64_t i = 0; i < n(); ++i) {
    const bool is_last = i + 1 == n() || row(i + 1).sequence != row(i).sequence;
    if (is_last) positions += static_cast<std::uint64_t>(row(i).position) + 1;
  }
  return positions * cache.format(layer).row_bytes;
}

}  // namespace dodeca::runtime
