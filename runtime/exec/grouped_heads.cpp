#include "runtime/exec/grouped_heads.hpp"

#include <cmath>

namespace dodeca::runtime::exec {
namespace {

constexpr std::int64_t kLeastLength = 32;       // a chunk's: shorter ones cost more to merge than to attend to
constexpr std::int64_t kWorthwhile = 128;       // so long that more members than 64 are worth a merge each
constexpr std::int64_t kFew = 64, kMany = 192;  // members that are fed

// Wanted where `seen` positions are visible; it grows with them.
std::int64_t chunks_wanted(const ModelConfig& config, std::int64_t seen) {
  const auto of_members = [&](std::int64_t n) { return std::max<std::int64_t>(1, n / config.n_kv_heads); };
  const std::int64_t few = std::min(of_members(kFew), seen / kLeastLength),
                     many = std::min(of_members(kMany), seen / kWorthwhile);
  return std::max<std::int64_t>({1, few, many});
}

}  // namespace

GroupedCut grouped_cut(const ModelConfig& config, std::int64_t window, std::int64_t position) {
  const std::int64_t first = position / kRowGroup * kRowGroup,
                     begin = window > 0 ? std::max<std::int64_t>(0, first + 1 - window) / cpu::kContextBlock *
                                              cpu::kContextBlock
                                        : 0,
                     seen = first + kRowGroup - begin, wanted = chunks_wanted(config, seen),
                     least = (seen + wanted - 1) / wanted;
  // Halves of blocks of the cache, or whole ones.
  const std::int64_t unit = least > kLeastLength ? cpu::kContextBlock : kLeastLength,
                     length = (least + unit - 1) / unit * unit;
  return {begin, length, (position - begin) / length + 1};
}

std::int64_t most_grouped_chunks(const ModelConfig& config, std::int64_t n_positions) {
  return chunks_wanted(config, (n_positions + cpu::kContextBlock - 1) / cpu::kContextBlock * cpu::kContextBlock);
}

GroupedHeads::GroupedHeads(const Model& model, const BlockPlan& plan)
    : layer_(plan.layer),
      window_(model.config().layer(plan.layer).window),
      group_(model.config().n_heads / model.config().n_kv_heads),
      dim_(model.config().head_dim),
      scale_(static_cast<float>(model.config().softmax_scale(AttentionKind::kGqa))),
      sinks_(model.weights().vector({WeightRole::kSinks, plan.layer})),
      parts_(plan.parts) {
  for (std::size_t p = 0; p < parts_.size(); ++p)
    part_of_.insert(part_of_.end(), static_cast<std::size_t>(parts_[p].size()), p);
}

Span GroupedHeads::here(const Pass& pass) const {
  const cpu::Range parts = pass.crews.parts_here();
  return {parts_[static_cast<std::size_t>(parts.begin)].begin, parts_[static_cast<std::size_t>(parts.end - 1)].end};
}

void GroupedHeads::gather_queries(const Pass& pass, std::int64_t head, const cpu::Range& rows,
                                  float* to) const noexcept {
  const Activations& queries = pass.buffer(RowBuffer::kQuery);
  const std::int64_t width = group_ * dim_;
  for (std::int64_t i = rows.begin; i < rows.end; ++i, to += width) {
    const float* from = queries.row(i) + head * width;
    const float factor = queries.factor(i);
    for (std::int64_t j = 0; j < width; ++j) to[j] = from[j] * factor;
  }
}

float* GroupedHeads::result(const Pass& pass, std::int64_t head, std::int64_t i) const {
  Activations& heads = pass.buffer(RowBuffer::kHeads);
  const std::size_t part = part_of(head);
  return heads.row(heads.first_row(static_cast<std::int64_t>(part)) + i) + (head - parts_[part].begin) * group_ * dim_;
}

float GroupedHeads::share(std::int64_t query_head, float max, float sum) const noexcept {
  if (sinks_.empty()) return 1.0f / sum;
  const float sink = sinks_[static_cast<std::size_t>(query_head)], most = std::max(max, sink),
              own = std::exp(max - most);
  return own / (sum * own + std::exp(sink - most));
}

}  // namespace dodeca::runtime::exec
