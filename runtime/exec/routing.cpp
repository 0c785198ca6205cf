#include "runtime/exec/routing.hpp"

#include <algorithm>

#include "cpu/kernels/router/router.hpp"

namespace dodeca::runtime::exec {

void demand_routing(const ModelConfig& c, const RunSizes& sizes, Demand& demand) {
  const std::int64_t m = sizes.micro_batch, slots = m * c.n_experts_per_tok;
  demand.rows(RowBuffer::kRouterLogits, m, c.n_routed_experts);
  demand.array(ArrayBuffer::kRouteScratch, m * 2 * c.n_routed_experts, sizeof(float));
  demand.array(ArrayBuffer::kExpertIds, slots, sizeof(std::int32_t));
  demand.array(ArrayBuffer::kExpertWeights, slots, sizeof(float));
  demand.array(ArrayBuffer::kSlotRows, slots, sizeof(std::int32_t));
  demand.array(ArrayBuffer::kSlotWeights, slots, sizeof(float));
  demand.array(ArrayBuffer::kSlotBegin, c.n_routed_experts + 1, sizeof(std::int32_t));
}

void route_row(const Pass& pass, std::span<const float> logit_bias, std::span<const float> bias,
               std::int64_t i) noexcept {
  const ModelConfig& c = pass.config;
  Workspace& s = pass.space;
  if (!logit_bias.empty()) add_bias(s.rows(RowBuffer::kRouterLogits).row(i), logit_bias.data(), c.n_routed_experts);
  // Softmax over the chosen logits equals softmax over all, renormalized over the chosen.
  const bool selected = c.gating == GatingKind::kSoftmaxSelected;
  cpu::route({.logits = s.rows(RowBuffer::kRouterLogits).row(i),
              .bias = bias.empty() ? nullptr : bias.data(),
              .n_experts = c.n_routed_experts,
              .n_used = c.n_experts_per_tok,
              .n_groups = c.n_group,
              .n_groups_used = c.topk_group,
              .group_score = c.group_score == GroupScoreKind::kMax ? cpu::GroupScore::kMax : cpu::GroupScore::kTop2Sum,
              .gating = c.gating == GatingKind::kSigmoid ? cpu::Gating::kSigmoid : cpu::Gating::kSoftmax,
              .normalize = c.norm_topk_prob || selected,
              .scale = static_cast<float>(c.routed_scaling_factor),
              .ids = s.array<std::int32_t>(ArrayBuffer::kExpertIds) + i * c.n_experts_per_tok,
              .weights = s.array<float>(ArrayBuffer::kExpertWeights) + i * c.n_experts_per_tok,
              .scratch = s.array<float>(ArrayBuffer::kRouteScratch) + i * 2 * c.n_routed_experts});
}

void group_slots(const Pass& pass) noexcept {
  Workspace& s = pass.space;
  const std::int64_t used = pass.config.n_experts_per_tok, experts = pass.config.n_routed_experts, n = n_slots(pass);
  const auto* ids = s.array<std::int32_t>(ArrayBuffer::kExpertIds);
  const auto* weights = s.array<float>(ArrayBuffer::kExpertWeights);
  auto* begin = s.array<std::int32_t>(ArrayBuffer::kSlotBegin);
  auto* rows = s.array<std::int32_t>(ArrayBuffer::kSlotRows);
  auto* slot_weights = s.array<float>(ArrayBuffer::kSlotWeights);
  std::fill_n(begin, experts + 1, 0);
  for (std::int64_t i = 0; i < n; ++i) ++begin[ids[i] + 1];
  for (std::int64_t e = 1; e <= experts; ++e) begin[e] += begin[e - 1];
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t slot = begin[ids[i]]++;
    rows[slot] = static_cast<std::int32_t>(i / used);
    slot_weights[slot] = weights[i];
  }
  for (std::int64_t e = experts; e > 0; --e) begin[e] = begin[e - 1];
  begin[0] = 0;
}

void mark_lightest_slots(std::span<const std::int32_t> rows, std::span<const float> weights, std::int64_t n,
                         std::vector<char>& marks) {
  for (std::size_t slot = 0; slot < rows.size(); ++slot) {
    std::int64_t n_lighter = 0;
    for (std::size_t other = 0; other < rows.size(); ++other) {
      if (rows[other] != rows[slot]) continue;
      n_lighter += weights[other] < weights[slot] || (weights[other] == weights[slot] && other > slot);
    }
    marks.push_back(n_lighter < n);
  }
}

SlotRange slots_of(const Pass& pass, std::int64_t expert) noexcept {
  const auto* begin = pass.space.array<std::int32_t>(ArrayBuffer::kSlotBegin);
  return {begin[expert], begin[expert + 1], pass.space.array<std::int32_t>(ArrayBuffer::kSlotRows)};
}

std::int64_t n_slots(const Pass& pass) noexcept { return pass.n() * pass.config.n_experts_per_tok; }

std::uint64_t experts_touched(const Pass& pass) noexcept {
  std::uint64_t n = 0;
  for (std::int64_t e = 0; e < pass.config.n_routed_experts; ++e) n += slots_of(pass, e).count() > 0;
  return n;
}

}  // namespace dodeca::runtime::exec
