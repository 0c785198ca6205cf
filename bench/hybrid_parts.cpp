#include "bench/hybrid_parts.hpp"

namespace dodeca::bench {
namespace {

using runtime::BlockKind;
using runtime::BlockPlan;
using runtime::Place;
using runtime::WeightRole;

bool has_experts_in_memory(const BlockPlan& block) {
  return block.kind == BlockKind::kMoeFfn && block.place == Place::kDevice && block.experts_place == Place::kCpu;
}

}  // namespace

bool is_hybrid(const runtime::Plan& plan) { return std::ranges::any_of(plan.blocks, has_experts_in_memory); }

double beside_share(const runtime::Plan& plan) {
  double all = 0, beside = 0;
  for (const BlockPlan& block : plan.blocks) {
    for (const std::size_t i : block.weights) {
      const runtime::WeightPlan& w = plan.weights[i];
      if (block.place_of(w.id.role) != Place::kDevice) continue;
      all += w.bytes_per_token;
      const bool shared = w.id.role == WeightRole::kSharedGate || w.id.role == WeightRole::kSharedUp ||
                          w.id.role == WeightRole::kSharedDown;
      if (has_experts_in_memory(block) && shared) beside += w.bytes_per_token;
    }
  }
  return all > 0 ? beside / all : 0;
}

}  // namespace dodeca::bench
