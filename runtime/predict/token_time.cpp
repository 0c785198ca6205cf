#include "runtime/predict/token_time.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "runtime/exec/executor.hpp"
#include "runtime/exec/grouped_heads.hpp"
#include "runtime/predict/calibration.hpp"
#include "runtime/predict/node_parts.hpp"
#include "runtime/predict/phase_walk.hpp"
#include "runtime/predict/shares.hpp"
#include "runtime/predict/token_work.hpp"

namespace dodeca::runtime::predict {
namespace {

using enum WeightRole;

constexpr double kChunk = 256;  // positions for which attention's kernels were measured

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
  enum class Of { kAll, kExperts, kDraft };
  Steps(const Plan& plan, const MachineSpec& machine, const StepRequest& request, Of of)
      : plan_(plan),
        c_(plan.config),
        machine_(machine),
        r_(request),
        parts_(machine, request.n_threads, static_cast<int>(plan.options.shares.size())),
        n_(static_cast<double>(request.n_rows)),
        only_experts_(of == Of::kExperts),
        drafts_(of == Of::kDraft) {
    slower_ = machine.rates.clock_ghz / machine.clock_ghz.value;
    if (c_.n_routed_experts > 0) touched_ = expected_experts(c_.n_routed_experts, c_.n_experts_per_tok, r_.n_rows);
  }

  // Phases of the first block of each kind. keep: those that count.
  StepTime run(const std::vector<BlockKindCount>& kinds,
               const std::function<bool(const BlockPlan&, const exec::Phase&)>& keep) {
    PhaseWalk walk{
        .position = r_.depth, .n_rows = std::min(r_.n_rows, exec::kFewRows), .rows_per_sequence = r_.rows_per_sequence};
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

 private:
  // What the members of one part deal among themselves; to them it is part 0 of one.
  struct PartLoads {
    std::vector<exec::TileLoad> loads;
    std::size_t n_chosen = 0;  // the first ones: of chosen experts
  };
  // What the members of one part need for a phase, in which all parts are at work.
  struct PartTime {
    Bound bound = Bound::kNodeBandwidth;
    double seconds = 0;
    double bytes = 0;
    double worst_member = 1, worst_complex = 1;
  };

  // ---- products of weights ------------------------------------------------------------------------------------------

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
      if (only_experts_ && !is_routed(tap.role)) continue;
      for (const InputPlan& input : block.inputs) {
        if (std::ranges::find(input.roles, tap.role) == input.roles.end()) continue;
        for (const WeightRole role : input.roles) {
          if (!sparse() && (role == kIndexQ || role == kIndexWeights)) continue;
          if (const WeightPlan* w = weight(block, role)) seconds += products(*w);
        }
      }
    }
    return seconds;
  }
  double products(const WeightPlan& w) {
    const bool routed = is_routed(w.id.role);
    const double slices = routed ? touched_ * r_.experts_share : static_cast<double>(w.n_slices),
                 rows = routed ? n_ * static_cast<double>(c_.n_experts_per_tok) / touched_ : n_;
    const std::optional<double> ns = machine_.rates.ns_per_weight(w.dtype, rows, machine_.clock_ghz.value);
    if (!ns) {
      if (std::ranges::find(time_.unknown_types, w.dtype) == time_.unknown_types.end())
        time_.unknown_types.push_back(w.dtype);
      return 0;
    }
    return static_cast<double>(w.n_in * w.n_out) * slices * *ns * 1e-9;
  }

  // products: seconds of one thread for those of this part.
  PartTime read(const PartLoads& part, int n_members, double products) const {
    std::span<const exec::TileLoad> loads = part.loads;
    if (only_experts_) loads = loads.first(part.n_chosen);
    const std::vector<double> by_member = bytes_by_member(loads, n_members);
    PartTime time;
    double most = 0;
    for (const double own : by_member) {
      time.bytes += own;
      most = std::max(most, own);
    }
    const MachineSpec& node = parts_.node();
    time.worst_member = time.bytes > 0 ? most * n_members / time.bytes : 1;
    time.worst_complex = worst_complex(by_member, node.n_complexes());
    time.bytes -= bytes_of(loads.first(part.n_chosen)) * (1 - expert_bytes());
    const int complexes = std::min(node.n_complexes(), n_members);
    struct Limit {
      Bound bound;
      double seconds;
    };
    const Limit reading[] = {
        {Bound::kNodeBandwidth, time.bytes / (node.memory_bandwidth(n_members) * kReadShare)},
        {Bound::kComplexLink,
         time.bytes * time.worst_complex / complexes / (1e9 * node.complex_gb_s.value * kReadShare)},
        {Bound::kCoreBandwidth, time.bytes * time.worst_member / n_members / (1e9 * node.core_gb_s.value * kReadShare)},
    };
    const Limit memory = *std::ranges::max_element(reading, {}, &Limit::seconds);
    const double arithmetic = products * time.worst_member / n_members;
    time.bound = arithmetic > memory.seconds ? Bound::kArithmetic : memory.bound;
    // Neither hides the other wholly.
    time.seconds = std::hypot(memory.seconds, arithmetic);
    return time;
  }
  static double bytes_of(std::span<const exec::TileLoad> loads) {
    double bytes = 0;
    for (const exec::TileLoad& load : loads)
      bytes += static_cast<double>(load.n_tiles) * static_cast<double>(load.tile_bytes);
    return bytes;
  }
  // Of the experts' bytes that are dealt, those that are read: rows share experts, and a card has some.
  double expert_bytes() const {
    const double dealt = static_cast<double>(std::min(r_.n_rows, exec::kFewRows) * c_.n_experts_per_tok);
    return touched_ / dealt * r_.experts_share;
  }

  // ---- attention ----------------------------------------------------------------------------------------------------

  // What a member does with a tile of attention's loads, in us for kChunk positions, for the rows of a group: tiles of
  // a load share its cached rows, or each has cached rows of its own.
  struct AttentionUnit {
    double load = 0, tile = 0, row_bytes = 0;
    std::int64_t window = 0;
    bool shared = true;
  };
  AttentionUnit attention_unit(const BlockPlan& block, const exec::Pass& pass) const {
    // The rows of a group share its loading.
    const double rows = static_cast<double>(pass.n()) / static_cast<double>(pass.groups.size());
    const quant::DType values = r_.value_cache_type.value_or(r_.cache_type);
    const bool latent = block.kind == BlockKind::kMlaAttention;
    const exec::RowFormat row =
        exec::RowFormat::of(c_, latent ? AttentionKind::kMla : AttentionKind::kGqa, {r_.cache_type, values}, true);
    AttentionUnit unit{.row_bytes = static_cast<double>(row.row_bytes)};
    if (latent) {  // strips of 16 heads, absorbed
      const KernelRates::Attention& rates = rates_of(r_.cache_type);
      unit.load = rates.load * static_cast<double>(c_.kv_lora_rank + c_.qk_rope_head_dim) / 576;
      unit.tile = rows * rates.attend / 8 * static_cast<double>(2 * c_.kv_lora_rank + c_.qk_rope_head_dim) / 1088;
      return unit;
    }
    // Key-value heads, each with its keys and values: bytes for strips of 16 query heads, others in float32.
    const std::int64_t group = c_.n_heads / c_.n_kv_heads;
    const auto dim = static_cast<double>(c_.head_dim), lanes = rows * static_cast<double>(group);
    if (row.dtype == quant::DType::kI8 || row.value_dtype == quant::DType::kI8) {
      for (const quant::DType type : {row.dtype, row.value_dtype}) {
        const KernelRates::Attention& rates = rates_of(type);
        unit.load += rates.load * dim / 576 * kCachedHeadLoad;
        unit.tile += rates.attend / 8 * dim / 1088 * std::ceil(lanes / cpu::kStripLanes);
      }
    } else {
      const auto floats = machine_.rates.types.find(quant::DType::kF32);
      const double products = kChunk * 2 * dim * lanes;
      unit.load = kChunk * 2 * dim * kDecodeCycles / machine_.rates.clock_ghz * 1e-3;
      if (floats != machine_.rates.types.end())
        unit.tile = products / (floats->second.eight_rows * kFloatAttentionShare * std::min(1.0, lanes / 4)) * 1e-3;
    }
    unit.window = c_.layer(block.layer).window;
    unit.shared = false;
    return unit;
  }
  const KernelRates::Attention& rates_of(quant::DType type) const {
    return type == quant::DType::kI8 ? machine_.rates.bytes : machine_.rates.words;
  }
  PartTime attend(const AttentionUnit& unit, std::span<const exec::TileLoad> loads, int n_members,
                  const exec::Pass& pass, double share) const {
    const auto walked_rows = static_cast<double>(pass.n());
    double most = 0, all = 0;
    for (int i = 0; i < n_members; ++i) {
      double us = 0;
      exec::for_share(loads, cpu::CrewPlace{.index = i, .size = n_members},
                      [&](std::size_t load, const cpu::Range& tiles) {
                        const auto n = static_cast<double>(tiles.end - tiles.begin);
                        us += static_cast<double>(loads[load].tile_bytes) / kChunk *
                              (unit.load * (unit.shared ? 1 : n) + unit.tile * n);
                      });
      most = std::max(most, us);
      all += us;
    }
    // Walked with fewer rows than there are: the rest is dealt as evenly.
    const double more = n_ / walked_rows;
    // Sparse rows of a sequence share nothing: each has its own choice.
    const std::int64_t window = sparse() ? c_.indexer.top_k : unit.window,
                       seen = window > 0 ? std::min(window, r_.depth + 1) : r_.depth + 1;
    const double readers = sparse() ? n_ : n_ / static_cast<double>(r_.rows_per_sequence);
    PartTime time{.bytes = readers * static_cast<double>(seen) * unit.row_bytes * share};
    time.worst_member = all > 0 ? most * n_members / all : 1;
    const double arithmetic = (more > 1 ? all * more / n_members : most) * 1e-6 * slower_ / kAttentionShare,
                 memory = time.bytes / (parts_.node().read_bandwidth(n_members) * kReadShare);
    time.bound = arithmetic >= memory ? Bound::kAttention : Bound::kNodeBandwidth;
    time.seconds = std::hypot(arithmetic, memory);
    return time;
  }
  // Of the cached rows, what a part reads: all where they are latent, its own heads' where they are not.
  double cache_share(const BlockPlan& block, int part) const {
    if (block.kind == BlockKind::kMlaAttention) return 1;
    return static_cast<double>(block.parts[static_cast<std::size_t>(part)].size()) / static_cast<double>(c_.n_kv_heads);
  }
  bool sparse() const { return !drafts_ && c_.indexer.n_heads > 0 && r_.depth >= c_.indexer.top_k; }
  // Seconds of one thread for scoring all positions of all rows, and of the member that then chooses, of the layers
  // that do.
  double scoring(const BlockPlan& block, const exec::Pass& pass) const {
    if (!pass.any_sparse() || !c_.chooses(block.layer)) return 0;
    // As many products as so many heads of absorbed attention over a chunk.
    const double per_position = machine_.rates.words.attend / 8 / kChunk * static_cast<double>(c_.indexer.n_heads) /
                                16 * static_cast<double>(c_.indexer.head_dim) / 1088;
    return n_ * static_cast<double>(r_.depth + 1) * per_position * 1e-6 * slower_ / kAttentionShare;
  }
  double choosing(const BlockPlan& block, const exec::Pass& pass) const {
    if (!pass.any_sparse() || !c_.chooses(block.layer)) return 0;
    return n_ / std::min<double>(n_, r_.n_threads) * static_cast<double>(r_.depth + 1) * kChooseCycles /
           machine_.clock_ghz.value * 1e-9;
  }
  // Behind attention, the results of a row's chunks are pulled from where they were made.
  double merge(const BlockPlan& block, const exec::Pass& pass) const {
    const std::int64_t position = pass.last_attended(0);
    const bool latent = block.kind == BlockKind::kMlaAttention;
    const std::int64_t count = latent ? exec::context_cut(c_, position).count
                                      : exec::grouped_cut(c_, c_.layer(block.layer).window, position).count;
    const double bytes =
        n_ * static_cast<double>(count * c_.n_heads * (2 + (latent ? c_.kv_lora_rank : c_.head_dim))) * sizeof(float);
    const double line_ns = parts_.node().n_complexes() > 1 ? machine_.far_ns.value : machine_.near_ns.value;
    return bytes / r_.n_threads / (kLineBytes * kLinesInFlight / line_ns) * 1e-9;
  }

  // ---- a phase ------------------------------------------------------------------------------------------------------

  std::vector<PartLoads> loads_by_part(const BlockPlan& block, const exec::Phase& phase, const exec::Pass& pass) const {
    std::vector<PartLoads> parts(static_cast<std::size_t>(parts_.n_parts()));
    const std::span<const exec::TileLoad> loads = phase.loads(pass);
    // The shared expert's loads come behind those of the chosen ones.
    const WeightPlan* shared = phase.name == "down" ? weight(block, WeightRole::kSharedDown) : nullptr;
    const bool routed = !phase.taps.empty() && is_routed(phase.taps.front().role);
    const std::size_t n_chosen =
        routed ? loads.size() - (shared != nullptr ? static_cast<std::size_t>(shared->n_pieces()) : 0) : 0;
    for (std::size_t i = 0; i < loads.size(); ++i) {
      PartLoads& part = parts[static_cast<std::size_t>(loads[i].part)];
      part.loads.push_back(loads[i]);
      part.loads.back().part = 0;
      part.n_chosen += i < n_chosen ? 1 : 0;
    }
    return parts;
  }

  void add(const BlockPlan& block, std::int64_t n_blocks, const exec::Phase& phase, const exec::Pass& pass) {
    PhaseTime t{.phase = std::string(phase.name), .kind = block.kind, .n_blocks = n_blocks};
    TimeSplit split;
    if (phase.name == "merge") {
      split.add(Bound::kAttention, merge(block, pass));
    } else if (exec::deals_loads(phase, pass)) {
      const std::vector<PartLoads> loads = loads_by_part(block, phase, pass);
      const bool attention = phase.name == "attention";
      const AttentionUnit unit = attention ? attention_unit(block, pass) : AttentionUnit();
      const double all_products =
                       attention ? 0 : products(block, phase) + (phase.name == "k_b" ? scoring(block, pass) : 0),
                   dealt = bytes_of(phase.loads(pass));
      add_slowest(t, split, [&](int p) {
        const PartLoads& part = loads[static_cast<std::size_t>(p)];
        const int n_members = parts_.n_members(p);
        if (attention) return attend(unit, part.loads, n_members, pass, cache_share(block, p));
        return read(part, n_members, dealt > 0 ? all_products * bytes_of(part.loads) / dealt : 0);
      });
      if (phase.name == "k_b") split.add(Bound::kSerial, choosing(block, pass));
      if (attention && block.kind == BlockKind::kMlaAttention) split.add(Bound::kAttention, merge(block, pass));
    }
    // What every phase pays.
    const bool for_all = phase.end == exec::PhaseEnd::kAll;
    split.add(Bound::kBarriers, for_all ? parts_.machine_barrier_seconds() : parts_.node_barrier_seconds(0));
    const std::optional<Exchange> exchange =
        phase.taps.empty() ? std::nullopt : exchange_of(c_, phase.taps.front().role);
    if (for_all && exchange) split.add(Bound::kExchange, parts_.exchange_seconds(exchange->of_rows(n_)));
    const bool routing = phase.name == "router, shared";
    split.add(Bound::kSerial, kPhaseStart + n_ * kFinishRow / r_.n_threads +
                                  (n_ * (routing ? kAloneRouting : kAlonePhase)) * slower_ +
                                  (machine_.n_complexes() > 1 && r_.n_threads > 1 ? kPulledLines : 0));
    t.seconds = split.sum();
    time_.split += split * static_cast<double>(n_blocks);
    time_.bytes += t.bytes * static_cast<double>(n_blocks);
    time_.phases.push_back(std::move(t));
  }

  // All parts are at work at once; the one that takes longest ends the phase.
  void add_slowest(PhaseTime& t, TimeSplit& split, const std::function<PartTime(int part)>& time_of) const {
    double most_bytes = 0;
    PartTime slowest;
    for (int p = 0; p < parts_.n_parts(); ++p) {
      const PartTime time = time_of(p);
      t.bytes += time.bytes;
      most_bytes = std::max(most_bytes, time.bytes);
      if (p == 0 || time.seconds > slowest.seconds) slowest = time;
    }
    t.bound = slowest.bound;
    t.worst_member = slowest.worst_member;
    t.worst_complex = slowest.worst_complex;
    t.worst_part = t.bytes > 0 ? most_bytes * parts_.n_parts() / t.bytes : 1;
    split.add(slowest.bound, slowest.seconds);
  }

  const Plan& plan_;
  const ModelConfig& c_;
  const MachineSpec& machine_;
  const StepRequest& r_;
  const NodeParts parts_;
  const double n_;  // rows
  const bool only_experts_, drafts_;
  double slower_ = 1, touched_ = 1;
  StepTime time_;
};

}  // namespace

std::vector<BlockKindCount> kinds_of_blocks(const Plan& plan) {
  std::vector<BlockKindCount> kinds;
  std::map<std::tuple<BlockKind, double, std::int64_t, std::vector<quant::DType>>, std::size_t> known;
  for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
    const BlockPlan& block = plan.blocks[i];
    std::vector<quant::DType> types;
    for (const std::size_t w : block.weights) types.push_back(plan.weights[w].dtype);
    const auto [at, fresh] =
        known.try_emplace({block.kind, block.bytes_per_token,
                           block.layer == kNoLayer ? 0 : plan.config.layer(block.layer).window, std::move(types)},
                          kinds.size());
    if (fresh) kinds.push_back({i, 0});
    ++kinds[at->second].n;
    if (block.kind == BlockKind::kHead) break;
  }
  return kinds;
}

std::vector<BlockKindCount> kinds_of_draft_blocks(const Plan& plan) {
  std::vector<BlockKindCount> kinds;
  for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
    if (plan.blocks[i].layer == plan.config.n_layers) kinds.push_back({i, 1});
  }
  const auto head = std::ranges::find(plan.blocks, BlockKind::kHead, &BlockPlan::kind);
  if (!kinds.empty() && head != plan.blocks.end())
    kinds.push_back({static_cast<std::size_t>(head - plan.blocks.begin()), 1});
  return kinds;
}

StepTime draft_time(const Plan& plan, const MachineSpec& machine, const StepRequest& request) {
  return Steps(plan, machine, request, Steps::Of::kDraft)
      .run(kinds_of_draft_blocks(plan), [](const BlockPlan&, const exec::Phase&) { return true; });
}

StepTime step_time(const Plan& plan, const MachineSpec& machine, const StepRequest& request) {
  StepTime time = Steps(plan, machine, request, Steps::Of::kAll)
                      .run(kinds_of_blocks(plan), [](const BlockPlan&, const exec::Phase&) { return true; });
  time.split.add(Bound::kSerial, kBetweenTokens);
  return time;
}

StepTime experts_time(const Plan& plan, const MachineSpec& machine, const StepRequest& request) {
  return Steps(plan, machine, request, Steps::Of::kExperts)
      .run(kinds_of_blocks(plan), [&](const BlockPlan& block, const exec::Phase& phase) {
        return block.kind == BlockKind::kMoeFfn && (phase.name == "gate, up" || phase.name == "down");
      });
}

}  // namespace dodeca::runtime::predict
