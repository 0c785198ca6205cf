#include "runtime/predict/phase_walk.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>

#include "runtime/weights/model.hpp"

namespace dodeca::runtime::predict {
namespace {

// Some order of all experts, the same everywhere: neighbours in it are no neighbours in the model.
std::vector<std::int32_t> shuffled(std::int64_t n) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(1);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  return order;
}

void choose_experts(const exec::Pass& pass) {
  const ModelConfig& c = pass.config;
  auto* ids = pass.space.array<std::int32_t>(exec::ArrayBuffer::kExpertIds);
  if (ids == nullptr || c.n_routed_experts == 0) return;
  const std::vector<std::int32_t> order = shuffled(c.n_routed_experts);
  for (std::int64_t i = 0; i < pass.n() * c.n_experts_per_tok; ++i)
    ids[i] = order[static_cast<std::size_t>(i) % order.size()];
}

}  // namespace

void walk_phases(const Plan& plan, const PhaseWalk& walk, const PhaseVisitor& visit) {
  const auto model = Model::without_weights(plan);
  const auto n_rows = std::clamp<std::int64_t>(walk.n_rows, 1, exec::kFewRows);
  const std::int64_t each = std::max<std::int64_t>(1, walk.rows_per_sequence);
  const exec::RunSizes sizes{.micro_batch = n_rows,
                             .n_positions = (walk.position + each) * n_rows,
                             .n_sequences = static_cast<std::int32_t>(n_rows)};
  exec::KvCache cache(plan.config, {.n_positions = 64, .n_sequences = static_cast<std::int32_t>(n_rows)});
  exec::Workspace space(exec::demand_of(plan, sizes));
  std::vector<exec::Row> rows;
  for (std::int64_t i = 0; i < n_rows; ++i)
    rows.push_back({.position = static_cast<std::int32_t>(walk.position + i % each),
                    .sequence = static_cast<std::int32_t>(i / each),
                    .wants_logits = true});
  cpu::Team alone(1);
  exec::Pass pass(plan.config, plan.options.isa, cache, space,
                  alone.crews(static_cast<int>(plan.options.shares.size())), rows, walk.drafts);
  std::vector<std::size_t> blocks = walk.blocks;
  for (std::size_t i = 0; walk.blocks.empty() && i < plan.blocks.size(); ++i) {
    blocks.push_back(i);
    if (plan.blocks[i].kind == BlockKind::kHead) break;
  }
  for (const std::size_t i : blocks) {
    const std::unique_ptr<exec::Block> block = exec::make_block(*model, plan.blocks[i]);
    for (const exec::Phase& phase : block->phases(pass)) {
      visit(plan.blocks[i], phase, pass);
      choose_experts(pass);
      if (phase.last) phase.last(pass);  // what is chosen there decides what the next phase deals
    }
  }
}

}  // namespace dodeca::runtime::predict
