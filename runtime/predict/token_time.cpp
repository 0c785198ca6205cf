#include "runtime/predict/token_time.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "runtime/exec/executor.hpp"
#include "runtime/predict/calibration.hpp"
#include "runtime/predict/phase_walk.hpp"
#include "runtime/predict/shares.hpp"
#include "runtime/predict/token_work.hpp"

namespace dodeca::runtime::predict {
namespace {

using enum WeightRole;

constexpr double kChunk = 256;  // positions for which attention's kernels were measured
constexpr double kLine = 64, kLinesInFlight = 24;

// Most of a group of neighbours over the mean; members lie on complexes in equal shares.
double worst_complex(const std::vector<double>& by_member, int n_complexes) {
  const int n = static_cast<int>(by_member.size()), groups = std::min(n, n_complexes);
  double all = 0, worst = 0;
  for (const double own : by_member) all += own;
  for (int g = 0; g < groups; ++g) {
    double own = 0;
    for (int i = n * g / groups; i < n * (g + 1) / groups; ++i) own += by_member[static_cast<std::size_t>(i)];
    worst = std::max(worst, own);
  }
  return all > 0 ? worst * groups / all : 1;
}

class Steps {
 public:
  // only_experts: a card has the shared ones.
  Steps(const Plan& plan, const MachineSpec& machine, const StepRequest& request, bool only_experts = false)
      : plan_(plan),
        c_(plan.config),
        machine_(machine),
        r_(request),
        n_(static_cast<double>(request.n_rows)),
        only_experts_(only_experts) {
    bandwidth_ = machine.memory_bandwidth(r_.n_threads) * kReadShare;
    barrier_ = machine.barrier_seconds(r_.n_threads);
    const bool bytes = r_.cache_type == quant::DType::kI8;
    attention_ = bytes ? machine.rates.bytes : machine.rates.words;
    slower_ = machine.rates.clock_ghz / machine.clock_ghz.value;
    if (c_.n_routed_experts > 0) touched_ = expected_experts(c_.n_routed_experts, c_.n_experts_per_tok, r_.n_rows);
  }

  // Phases of the first block of each kind. keep: those that count.
  StepTime run(const std::function<bool(const BlockPlan&, const exec::Phase&)>& keep) {
    const std::vector<BlockKindCount> kinds = kinds_of_blocks(plan_);
    PhaseWalk walk{.position = r_.depth, .n_rows = std::min(r_.n_rows, exec::kFewRows)};
    for (const BlockKindCount& kind : kinds) walk.blocks.push_back(kind.first);
    const BlockPlan* current = nullptr;
    std::size_t at = 0;
    walk_phases(plan_, walk, [&](const BlockPlan& block, const exec::Phase& phase, const exec::Pass& pass) {
      if (current != nullptr && &block != current) ++at;
      current = &block;
      if (keep(block, phase)) add(block, kinds[at].n, phase, pass);
    });
    return std::move(time_);
  }

  double touched() const { return touched_; }

 private:
  // ---- one phase ----------------------------------------------------------------------------------------------------

  const WeightPlan* weight(const BlockPlan& block, WeightRole role) const {
    for (const std::size_t i : block.weights) {
      if (plan_.weights[i].id.role == role) return &plan_.weights[i];
    }
    return nullptr;
  }

  // Seconds of one thread for the products of a phase.
  double products(const BlockPlan& block, const exec::Phase& phase) {
    double seconds = 0;
    for (const exec::Tap& tap : phase.taps) {
      for (const InputPlan& input : block.inputs) {
        if (std::ranges::find(input.roles, tap.role) == input.roles.end()) continue;
        for (const WeightRole role : input.roles) {
          if (const WeightPlan* w = weight(block, role)) seconds += products(*w);
        }
      }
    }
    return seconds;
  }
  double products(const WeightPlan& w) {
    const bool routed = is_routed(w.id.role);
    const double slices = routed ? touched_ : static_cast<double>(w.n_slices),
                 rows = routed ? n_ * static_cast<double>(c_.n_experts_per_tok) / touched_ : n_;
    const std::optional<double> ns = machine_.rates.ns_per_weight(w.dtype, rows, machine_.clock_ghz.value);
    if (!ns) {
      if (std::ranges::find(time_.unknown_types, w.dtype) == time_.unknown_types.end())
        time_.unknown_types.push_back(w.dtype);
      return 0;
    }
    return static_cast<double>(w.n_in * w.n_out) * slices * *ns * 1e-9;
  }

  // Absorbed attention: a unit is some strips of 16 heads over a chunk of the context.
  void attend(const exec::Phase& phase, const exec::Pass& pass, PhaseTime& t, double& seconds) const {
    const std::span<const exec::TileLoad> loads = phase.loads(pass);
    const double load_us = attention_.load * static_cast<double>(c_.kv_lora_rank + c_.qk_rope_head_dim) / 576,
                 strip_us =
                     attention_.attend / 8 * static_cast<double>(2 * c_.kv_lora_rank + c_.qk_rope_head_dim) / 1088;
    double most = 0, all = 0;
    const std::vector<cpu::CrewPlace> places = cpu::crew_places(r_.n_threads, pass.crews.n_parts());
    for (int i = 0; i < r_.n_threads; ++i) {
      double us = 0;
      exec::for_share(loads, places[static_cast<std::size_t>(i)], [&](std::size_t load, const cpu::Range& strips) {
        us += static_cast<double>(loads[load].tile_bytes) / kChunk *
              (load_us + strip_us * static_cast<double>(strips.end - strips.begin));
      });
      most = std::max(most, us);
      all += us;
    }
    // Walked with fewer rows than there are: the rest is dealt as evenly.
    const double more = n_ / static_cast<double>(pass.n());
    t.worst_member = all > 0 ? most * r_.n_threads / all : 1;
    seconds = (more > 1 ? all * more / r_.n_threads : most) * 1e-6 * slower_ / kAttentionShare;
    t.bytes = n_ * static_cast<double>(r_.depth + 1) * cache_row_bytes();
  }
  double cache_row_bytes() const {
    return static_cast<double>(
               exec::KvCache::bytes_needed(c_, {.n_positions = 4096, .n_sequences = 1, .dtype = r_.cache_type})) /
           4096 / static_cast<double>(c_.n_layers);
  }
  // Behind attention, the results of a row's chunks are pulled from where they were made.
  double merge(const exec::Pass& pass) const {
    const exec::ContextCut cut = exec::context_cut(c_, pass.row(0).position);
    const double bytes = n_ * static_cast<double>(cut.count * c_.n_heads * (2 + c_.kv_lora_rank)) * sizeof(float);
    const double line_ns = machine_.n_complexes() > 1 ? machine_.far_ns.value : machine_.near_ns.value;
    return bytes / r_.n_threads / (kLine * kLinesInFlight / line_ns) * 1e-9;
  }

  void add(const BlockPlan& block, std::int64_t n_blocks, const exec::Phase& phase, const exec::Pass& pass) {
    PhaseTime t{.phase = std::string(phase.name), .kind = block.kind, .n_blocks = n_blocks};
    TimeSplit split;
    double arithmetic = 0;
    if (exec::deals_loads(phase, pass)) {
      if (block.kind == BlockKind::kMlaAttention && phase.name == "attention") {
        attend(phase, pass, t, arithmetic);
        const double memory = t.bytes / (machine_.read_bandwidth(r_.n_threads) * kReadShare);
        t.bound = arithmetic >= memory ? Bound::kAttention : Bound::kNodeBandwidth;
        split.add(t.bound, std::hypot(arithmetic, memory));
        split.add(Bound::kAttention, merge(pass));
      } else {
        read(block, phase, pass, t, split);
      }
    }
    // What every phase pays.
    split.add(Bound::kBarriers, barrier_);
    const bool routing = phase.name == "router, shared";
    split.add(Bound::kSerial, kPhaseStart + n_ * kFinishRow / r_.n_threads +
                                  (n_ * (routing ? kAloneRouting : kAlonePhase)) * slower_ +
                                  (machine_.n_complexes() > 1 && r_.n_threads > 1 ? kPulledLines : 0));
    t.seconds = split.sum();
    time_.split += split * static_cast<double>(n_blocks);
    time_.bytes += t.bytes * static_cast<double>(n_blocks);
    time_.phases.push_back(std::move(t));
  }

  void read(const BlockPlan& block, const exec::Phase& phase, const exec::Pass& pass, PhaseTime& t, TimeSplit& split) {
    std::span<const exec::TileLoad> loads = phase.loads(pass);
    const bool routed = phase.name == "gate, up" || phase.name == "down";
    const std::int64_t dealt = pass.n() * c_.n_experts_per_tok;
    // The chosen experts come first in the list, the shared one behind them.
    const std::size_t n_chosen =
        phase.name == "down" ? std::min(loads.size(), static_cast<std::size_t>(dealt)) : loads.size();
    if (only_experts_) loads = loads.first(n_chosen);
    const std::vector<double> by_member = bytes_by_member(loads, r_.n_threads);
    double bytes = 0, most = 0;
    for (const double own : by_member) {
      bytes += own;
      most = std::max(most, own);
    }
    t.worst_member = bytes > 0 ? most * r_.n_threads / bytes : 1;
    t.worst_complex = worst_complex(by_member, machine_.n_complexes());
    // Rows share experts: fewer are read than were dealt.
    if (routed && c_.n_routed_experts > 0) {
      double chosen = 0;
      for (const exec::TileLoad& load : loads.first(n_chosen))
        chosen += static_cast<double>(load.n_tiles) * static_cast<double>(load.tile_bytes);
      bytes -= chosen * (1 - touched_ / static_cast<double>(dealt));
    }
    t.bytes = bytes;
    const int complexes = std::min(machine_.n_complexes(), r_.n_threads);
    struct Limit {
      Bound bound;
      double seconds;
    };
    const Limit reading[] = {
        {Bound::kNodeBandwidth, bytes / bandwidth_},
        {Bound::kComplexLink, bytes * t.worst_complex / complexes / (1e9 * machine_.complex_gb_s.value * kReadShare)},
        {Bound::kCoreBandwidth, bytes * t.worst_member / r_.n_threads / (1e9 * machine_.core_gb_s.value * kReadShare)},
    };
    const Limit memory = *std::ranges::max_element(reading, {}, &Limit::seconds);
    const double arithmetic = products(block, phase) * t.worst_member / r_.n_threads;
    t.bound = arithmetic > memory.seconds ? Bound::kArithmetic : memory.bound;
    // Neither hides the other wholly.
    split.add(t.bound, std::hypot(memory.seconds, arithmetic));
  }

  const Plan& plan_;
  const ModelConfig& c_;
  const MachineSpec& machine_;
  const StepRequest& r_;
  const double n_;  // rows
  const bool only_experts_;
  double bandwidth_ = 0, barrier_ = 0, slower_ = 1, touched_ = 1;
  KernelRates::Attention attention_;
  StepTime time_;
};

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
  TimeSplit weights(const BlockPlan& block, bool experts, StepTime& time) const {
    TimeSplit split;
    const double bytes = bytes_of(block, experts);
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

}  // namespace

std::vector<BlockKindCount> kinds_of_blocks(const Plan& plan) {
  std::vector<BlockKindCount> kinds;
  std::map<std::tuple<BlockKind, double, std::vector<quant::DType>>, std::size_t> known;
  for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
    const BlockPlan& block = plan.blocks[i];
    std::vector<quant::DType> types;
    for (const std::size_t w : block.weights) types.push_back(plan.weights[w].dtype);
    const auto [at, fresh] = known.try_emplace({block.kind, block.bytes_per_token, std::move(types)}, kinds.size());
    if (fresh) kinds.push_back({i, 0});
    ++kinds[at->second].n;
    if (block.kind == BlockKind::kHead) break;
  }
  return kinds;
}

StepTime step_time(const Plan& plan, const MachineSpec& machine, const StepRequest& request) {
  StepTime time = Steps(plan, machine, request).run([](const BlockPlan&, const exec::Phase&) { return true; });
  time.split.add(Bound::kSerial, kBetweenTokens);
  return time;
}

StepTime step_time_with_card(const Plan& plan, const Plan& placed, const MachineSpec& machine, const CardSpec& card,
                             std::uint64_t card_cache, const StepRequest& request) {
  Steps steps(plan, machine, request, true);
  const double touched = steps.touched();
  StepTime experts = steps.run([&](const BlockPlan& block, const exec::Phase& phase) {
    return block.kind == BlockKind::kMoeFfn && (phase.name == "gate, up" || phase.name == "down");
  });
  // Per MoE layer: all layers are alike but for their types, so that the mean serves.
  std::int64_t n_moe = 0;
  for (const BlockPlan& block : plan.blocks)
    n_moe += block.kind == BlockKind::kMoeFfn && block.layer < plan.config.n_layers;
  const double of_one = n_moe > 0 ? 1.0 / static_cast<double>(n_moe) : 0;
  const TimeSplit cpu_experts = experts.split * of_one;

  // What stays on the processors besides: whole blocks.
  const StepTime whole = step_time(plan, machine, request);
  StepTime time;
  time.unknown_types = experts.unknown_types;
  time.phases = experts.phases;
  const CardSteps on_card(placed, card, card_cache, request, touched);
  // The mean of the blocks of its kind.
  const auto cpu_block = [&](const BlockPlan& block) {
    TimeSplit split;
    for (const PhaseTime& phase : whole.phases) {
      if (phase.kind != block.kind) continue;
      double n = 0;
      for (const PhaseTime& other : whole.phases)
        n += other.kind == phase.kind && other.phase == phase.phase ? static_cast<double>(other.n_blocks) : 0;
      split.add(phase.bound, phase.seconds * static_cast<double>(phase.n_blocks) / n);
      time.bytes += phase.bytes * static_cast<double>(phase.n_blocks) / n;
    }
    return split;
  };
  for (const BlockPlan& block : placed.blocks) {
    if (block.layer >= placed.config.n_layers || block.kind == BlockKind::kMtp) continue;
    if (block.place == Place::kCpu) {
      time.split += cpu_block(block);
    } else if (block.kind == BlockKind::kMlaAttention) {
      time.split += on_card.attention(block, time);
    } else if (block.kind == BlockKind::kMoeFfn && block.experts_place == Place::kCpu) {
      // The card computes the shared expert while the processors have the others.
      const TimeSplit shared = on_card.weights(block, false, time);
      TimeSplit there = cpu_experts;
      there.add(Bound::kCardLink, on_card.round_trip());
      time.split += there.sum() > shared.sum() ? there : shared;
      time.bytes += experts.bytes * of_one;
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
