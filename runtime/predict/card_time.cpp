#include "runtime/predict/card_time.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "runtime/exec/executor.hpp"
#include "runtime/predict/calibration.hpp"
#include "runtime/predict/token_work.hpp"

namespace dodeca::runtime::predict {
namespace {

// What a card does of a block in a step, in seconds.
class CardSteps {
 public:
  CardSteps(const Plan& placed, const CardSpec& card, std::uint64_t card_cache, const StepRequest& request,
            double touched)
      : plan_(placed), card_(card), cache_(static_cast<double>(card_cache)), r_(request), touched_(touched) {}

  // Weights of a block on the card but for, or only, routed experts.
  double bytes_of(const BlockPlan& block, bool experts) const {
    double bytes = 0;
    for (const std::size_t i : block.weights) {
      const WeightPlan& w = plan_.weights[i];
      if (is_routed(w.id.role) != experts || w.layout == nullptr) continue;
      bytes += static_cast<double>(w.bytes) *
               (experts ? touched_ / static_cast<double>(plan_.config.n_routed_experts) : 1.0);
    }
    return bytes;
  }
  double reading(double bytes) const { return bytes / (1e9 * card_.gb_per_s.value * card_.read_share.value); }
  double launches(int n) const { return n * card_.launch_us.value * 1e-6; }
  double round_trip() const { return card_.round_trip_us.value * 1e-6; }

  TimeSplit attention(const BlockPlan& block, StepTime& time) const {
    const ModelConfig& c = plan_.config;
    const double positions = static_cast<double>(r_.n_rows) * static_cast<double>(r_.depth + 1);
    const double weights = bytes_of(block, false), rows = positions * cache_;
    const double products = positions * static_cast<double>(c.n_heads * (2 * c.kv_lora_rank + c.qk_rope_head_dim));
    TimeSplit split;
    split.add(Bound::kCardMemory, reading(weights));
    const double read = reading(rows),
                 compute = 2 * products / (1e12 * card_.f16_tflops.value * card_.compute_share.value);
    split.add(compute > read ? Bound::kCardArithmetic : Bound::kCardMemory, std::max(read, compute));
    split.add(Bound::kCardLaunches, launches(kCardAttentionKernels));
    time.card_bytes += weights + rows;
    return split;
  }
  // share: of the routed experts that rows chose.
  TimeSplit weights(const BlockPlan& block, bool experts, StepTime& time, double share = 1) const {
    TimeSplit split;
    const double bytes = bytes_of(block, experts) * share;
    split.add(Bound::kCardMemory, reading(bytes));
    split.add(Bound::kCardLaunches, launches(kCardFfnKernels));
    time.card_bytes += bytes;
    return split;
  }

 private:
  const Plan& plan_;
  const CardSpec& card_;
  const double cache_;
  const StepRequest& r_;
  const double touched_;
};

// What the processors do of a step beside a card: the experts that are in memory, and whole blocks.
class BesideCard {
 public:
  BesideCard(const Plan& plan, const MachineSpec& machine, const StepRequest& request)
      : plan_(plan), machine_(machine), request_(request), whole_(step_time(plan, machine, request)) {
    for (const BlockPlan& block : plan.blocks)
      n_moe_ += block.kind == BlockKind::kMoeFfn && block.layer < plan.config.n_layers ? 1 : 0;
  }

  // A share of the routed work of a MoE layer: the mean of all, which are alike but for their types.
  const StepTime& experts(double share) {
    const auto found = experts_.find(share);
    if (found != experts_.end()) return found->second;
    StepRequest request = request_;
    request.experts_share = share;
    StepTime time = experts_time(plan_, machine_, request);
    time.split = time.split * (1.0 / static_cast<double>(n_moe_));
    time.bytes /= static_cast<double>(n_moe_);
    return experts_.emplace(share, std::move(time)).first->second;
  }
  // The mean of the blocks of its kind.
  TimeSplit block(BlockKind kind, double& bytes) const {
    TimeSplit split;
    for (const PhaseTime& phase : whole_.phases) {
      if (phase.kind != kind) continue;
      double n = 0;
      for (const PhaseTime& other : whole_.phases)
        n += other.kind == phase.kind && other.phase == phase.phase ? static_cast<double>(other.n_blocks) : 0;
      split.add(phase.bound, phase.seconds * static_cast<double>(phase.n_blocks) / n);
      bytes += phase.bytes * static_cast<double>(phase.n_blocks) / n;
    }
    return split;
  }

 private:
  const Plan& plan_;
  const MachineSpec& machine_;
  const StepRequest& request_;
  const StepTime whole_;
  std::int64_t n_moe_ = 0;
  std::map<double, StepTime> experts_;
};

const TimeSplit& longer(const TimeSplit& a, const TimeSplit& b) { return a.sum() > b.sum() ? a : b; }

// Of the routed work of a layer, what is added one layer later. An expert is late where all its rows defer it.
double late_share(const BlockPlan& block, const ModelConfig& c, std::int64_t n_rows, double touched) {
  if (block.n_deferred == 0 || n_rows > exec::kFewRows) return 0;
  const auto used = static_cast<double>(c.n_experts_per_tok);
  return std::pow(static_cast<double>(block.n_deferred) / used, static_cast<double>(n_rows) * used / touched);
}

}  // namespace

double HotHits::of(std::int64_t n_slots, std::int64_t n_experts) const {
  const double uniform = static_cast<double>(n_slots) / static_cast<double>(n_experts);
  switch (kind) {
    case Kind::kUniform:
      return uniform;
    case Kind::kPublished:
      return std::pow(uniform, kPublishedHitsPower);
    default:
      return given;
  }
}

std::string HotHits::text() const {
  switch (kind) {
    case Kind::kUniform:
      return "as if all experts were used alike";
    case Kind::kPublished:
      return kPublishedHits;
    default:
      return "as asked for";
  }
}

StepTime step_time_with_card(const Plan& plan, const Plan& placed, const MachineSpec& machine, const CardSpec& card,
                             std::uint64_t card_cache, const StepRequest& request) {
  const ModelConfig& c = plan.config;
  const double touched =
      c.n_routed_experts > 0 ? expected_experts(c.n_routed_experts, c.n_experts_per_tok, request.n_rows) : 1;
  const CardSteps on_card(placed, card, card_cache, request, touched);
  BesideCard beside(plan, machine, request);
  const StepTime& all_experts = beside.experts(1);
  StepTime time;
  time.unknown_types = all_experts.unknown_types;
  time.phases = all_experts.phases;
  TimeSplit late;  // experts of the layer before, beside which the card goes on
  for (const BlockPlan& block : placed.blocks) {
    if (block.layer >= placed.config.n_layers || block.kind == BlockKind::kMtp) continue;
    if (block.place == Place::kCpu) {
      time.split += beside.block(block.kind, time.bytes);
    } else if (block.kind == BlockKind::kMlaAttention) {
      time.split += longer(on_card.attention(block, time), late);
      late = {};
    } else if (block.kind == BlockKind::kMoeFfn && block.experts_place == Place::kCpu) {
      const bool slots = block.n_hot_experts > 0 && request.n_rows <= exec::kFewRows;
      const double hits = slots ? request.hot.of(block.n_hot_experts, c.n_routed_experts) : 0,
                   later = late_share(block, c, request.n_rows, touched);
      // The card computes the shared expert, and those that have slots, while the processors have the others.
      TimeSplit here = on_card.weights(block, false, time);
      if (hits > 0) here += on_card.weights(block, true, time, hits);
      const StepTime& now = beside.experts((1 - hits) * (1 - later));
      TimeSplit there = now.split;
      there.add(Bound::kCardLink, on_card.round_trip());
      time.split += longer(here, there);
      time.bytes += now.bytes;
      if (later == 0) continue;
      const StepTime& rest = beside.experts((1 - hits) * later);
      late = rest.split;
      time.bytes += rest.bytes;
    } else {
      time.split += on_card.weights(block, false, time);
      if (block.kind == BlockKind::kMoeFfn) time.split += on_card.weights(block, true, time);
    }
    if (block.kind == BlockKind::kHead) break;
  }
  time.split.add(Bound::kSerial, kBetweenTokens);
  return time;
}

}  // namespace dodeca::runtime::predict
