#include "bench/shares.hpp"

#include <algorithm>
#include <memory>

#include "cpu/team.hpp"
#include "runtime/exec/block.hpp"
#include "runtime/weights/model.hpp"

namespace dodeca::bench {
namespace {

using runtime::exec::ArrayBuffer;

// Experts as a router would choose them, spread over all.
void choose_experts(const runtime::exec::Pass& pass) {
  const runtime::ModelConfig& c = pass.config;
  auto* ids = pass.space.array<std::int32_t>(ArrayBuffer::kExpertIds);
  for (std::int64_t i = 0; ids != nullptr && i < c.n_experts_per_tok; ++i)
    ids[i] = static_cast<std::int32_t>(i * c.n_routed_experts / c.n_experts_per_tok);
}

std::vector<double> bytes_by_member(std::span<const runtime::exec::TileLoad> loads, int n_threads) {
  std::vector<double> bytes(static_cast<std::size_t>(n_threads), 0.0);
  for (int i = 0; i < n_threads; ++i) {
    runtime::exec::for_share(loads, i, n_threads, [&](std::size_t load, const cpu::Range& tiles) {
      bytes[static_cast<std::size_t>(i)] +=
          static_cast<double>(tiles.end - tiles.begin) * static_cast<double>(loads[load].tile_bytes);
    });
  }
  return bytes;
}

PhaseShares shares_of(std::span<const runtime::exec::TileLoad> loads, int n_threads, int l3_members) {
  const std::vector<double> bytes = bytes_by_member(loads, n_threads);
  PhaseShares shares{.n_threads = n_threads};
  for (const double own : bytes) shares.bytes += own;
  for (const runtime::exec::TileLoad& load : loads)
    shares.largest_tile = std::max(shares.largest_tile, static_cast<double>(load.tile_bytes));
  const double mean = shares.bytes / n_threads;
  for (int begin = 0; begin < n_threads; begin += l3_members) {
    const int end = std::min(n_threads, begin + l3_members);
    double group = 0;
    for (int i = begin; i < end; ++i) {
      group += bytes[static_cast<std::size_t>(i)];
      shares.worst_member = std::max(shares.worst_member, bytes[static_cast<std::size_t>(i)] / mean);
    }
    shares.worst_l3 = std::max(shares.worst_l3, group / (mean * (end - begin)));
  }
  return shares;
}

void keep_worst(std::vector<PhaseShares>& all, PhaseShares shares) {
  const auto found = std::ranges::find_if(
      all, [&](const PhaseShares& s) { return s.phase == shares.phase && s.n_threads == shares.n_threads; });
  if (found == all.end())
    all.push_back(std::move(shares));
  else if (shares.worst_member > found->worst_member)
    *found = std::move(shares);
}

}  // namespace

std::vector<PhaseShares> count_shares(const runtime::Plan& plan, const ShareRequest& request) {
  const auto model = runtime::Model::without_weights(plan);
  const runtime::exec::RunSizes sizes{.micro_batch = 1, .n_positions = request.position + 1, .n_sequences = 1};
  runtime::exec::KvCache cache(plan.config, {.n_positions = 64});
  runtime::exec::Workspace space(runtime::exec::demand_of(plan, sizes));
  const runtime::exec::Row row{.position = static_cast<std::int32_t>(request.position), .wants_logits = true};
  runtime::exec::Pass pass(plan.config, plan.options.isa, cache, space, {&row, 1});
  std::vector<PhaseShares> all;
  for (const runtime::BlockPlan& block_plan : plan.blocks) {
    const std::unique_ptr<runtime::exec::Block> block = runtime::exec::make_block(*model, block_plan);
    for (const runtime::exec::Phase& phase : block->phases(pass)) {
      if (runtime::exec::deals_loads(phase, pass)) {
        for (const int n : request.n_threads) {
          PhaseShares shares = shares_of(phase.loads(pass), n, request.l3_members);
          shares.phase = phase.name;
          shares.block = block_plan.name();
          keep_worst(all, std::move(shares));
        }
      }
      choose_experts(pass);
      if (phase.last) phase.last(pass);  // what is chosen there decides what the next phase deals
    }
    if (block_plan.kind == runtime::BlockKind::kHead) break;
  }
  return all;
}

}  // namespace dodeca::bench
