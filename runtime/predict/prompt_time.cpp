#include "runtime/predict/prompt_time.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/exec/attention_decompressed.hpp"
#include "runtime/predict/calibration.hpp"
#include "runtime/predict/node_parts.hpp"
#include "runtime/predict/shares.hpp"
#include "runtime/predict/token_time.hpp"
#include "runtime/predict/token_work.hpp"

namespace dodeca::runtime::predict {
namespace {

using enum WeightRole;

constexpr double kPromptChunk = 256, kMeasuredRows = 512;
constexpr double kGroupedLanes = 256;  // of a unit, about (exec/attention_grouped_prompt.cpp)

class Prompt {
 public:
  Prompt(const Plan& plan, const MachineSpec& machine, const PromptRequest& request)
      : plan_(plan),
        c_(plan.config),
        machine_(machine),
        r_(request),
        parts_(machine, request.n_threads, static_cast<int>(plan.options.shares.size())),
        rows_(static_cast<double>(request.n_rows)),
        slower_(machine.rates.clock_ghz / machine.clock_ghz.value) {
    if (c_.n_routed_experts > 0) touched_ = expected_experts(c_.n_routed_experts, c_.n_experts_per_tok, request.n_rows);
  }

  // On the processors; only_routed: the chosen experts alone.
  TimeSplit block(const BlockPlan& block, bool only_routed = false) const {
    TimeSplit split;
    for (const InputPlan& input : block.inputs) {
      const bool routed = is_routed(input.roles.front());
      if (only_routed && !routed) continue;
      products(block, input, routed, split);
    }
    if (only_routed) return split;
    if (block.kind == BlockKind::kMlaAttention) split.add(Bound::kAttention, attention(block));
    if (block.kind == BlockKind::kGqaAttention) split.add(Bound::kAttention, grouped_attention(block));
    return split;
  }

 private:
  // What the members of one part have of an input's products.
  struct PartWork {
    double bytes = 0, seconds = 0;  // of one thread
    std::vector<exec::TileLoad> loads = {};
  };

  void products(const BlockPlan& block, const InputPlan& input, bool routed, TimeSplit& split) const {
    std::vector<PartWork> works(static_cast<std::size_t>(parts_.n_parts()));
    for (const std::size_t i : block.weights) {
      const WeightPlan& w = plan_.weights[i];
      const WeightRole role = w.id.role;
      if (std::ranges::find(input.roles, role) == input.roles.end()) continue;
      // Nothing is scored while every position is chosen.
      if ((role == kIndexQ || role == kIndexWeights) && rows_from(block, c_.indexer.top_k) == 0) continue;
      // Keys and values are made for whole heads: part of attention here.
      if ((role == kKB || role == kVB) && block.kind == BlockKind::kMlaAttention) continue;
      add_weight(w, block.kind == BlockKind::kHead ? 1 : rows_, works);
    }
    if (std::ranges::all_of(works, [](const PartWork& work) { return work.loads.empty(); })) return;
    Bound bound = Bound::kArithmetic;
    double longest = 0;
    for (std::size_t p = 0; p < works.size(); ++p) {
      if (works[p].loads.empty()) continue;
      const int n_members = parts_.n_members(static_cast<int>(p));
      double most = 0, all = 0;
      for (const double own : bytes_by_member(works[p].loads, n_members)) {
        most = std::max(most, own);
        all += own;
      }
      const double uneven = routed ? kCounterImbalance : most * n_members / all;
      const double arithmetic = works[p].seconds * uneven / n_members / kPromptShare,
                   memory = works[p].bytes / (parts_.node().read_bandwidth(n_members) * kReadShare),
                   seconds = std::hypot(arithmetic, memory);
      if (seconds <= longest) continue;
      longest = seconds;
      bound = arithmetic > memory ? Bound::kArithmetic : Bound::kNodeBandwidth;
    }
    split.add(bound, longest);
    split.add(Bound::kBarriers, 2 * parts_.machine_barrier_seconds());
    if (const std::optional<Exchange> exchange = exchange_of(c_, input.roles.front()))
      split.add(Bound::kExchange, parts_.exchange_seconds(exchange->of_rows(rows_)));
  }

  void add_weight(const WeightPlan& w, double n_rows, std::vector<PartWork>& works) const {
    const bool routed = is_routed(w.id.role);
    const double rows = routed ? n_rows * static_cast<double>(c_.n_experts_per_tok) / touched_ : n_rows,
                 slices = routed ? touched_ : static_cast<double>(w.n_slices),
                 bytes =
                     static_cast<double>(w.bytes) * (routed ? touched_ / static_cast<double>(c_.n_routed_experts) : 1);
    const std::optional<double> ns = machine_.rates.ns_per_weight(w.dtype, rows, machine_.clock_ghz.value);
    for (std::size_t p = 0; p < works.size(); ++p) {
      const WeightPart& part = w.parts[p];
      const double share = static_cast<double>(part.rows.size() * part.columns.size() * std::ssize(part.slices)) /
                           static_cast<double>(w.n_in * w.n_out * w.n_slices);
      if (share == 0) continue;
      works[p].bytes += bytes * share;
      if (ns) works[p].seconds += static_cast<double>(w.n_in * w.n_out) * slices * share * *ns * 1e-9;
      works[p].loads.push_back({.n_tiles = (part.rows.size() + cpu::kTileRows - 1) / cpu::kTileRows,
                                .tile_bytes = w.tile_bytes() * static_cast<std::uint64_t>(part.columns.size()) /
                                              static_cast<std::uint64_t>(w.n_in)});
    }
  }

  // Decompressed: a unit is a head and a part of the rows, which makes the keys and values of all that it sees.
  double attention(const BlockPlan& block) const {
    double longest = 0;
    const double sparse = rows_from(block, exec::masked_positions(c_));
    for (int p = 0; p < parts_.n_parts(); ++p) {
      const auto heads = static_cast<double>(block.parts[static_cast<std::size_t>(p)].size()),
                 n_members = static_cast<double>(parts_.n_members(p));
      double seconds = sparse < rows_ ? attention(rows_ - sparse, heads, n_members) : 0;
      if (sparse > 0) seconds += sparse * sparse_row(heads) / n_members;
      longest = std::max(longest, seconds);
    }
    const double scored = c_.chooses(block.layer) ? rows_from(block, c_.indexer.top_k) : 0;
    return longest + scored * scored_row() / static_cast<double>(r_.n_threads);
  }
  // Of the rows of a sparse layer, those from a position on.
  double rows_from(const BlockPlan& block, std::int64_t position) const {
    if (!c_.is_sparse(block.layer)) return 0;
    return std::clamp(static_cast<double>(r_.depth - position) + rows_, 0.0, rows_);
  }
  const KernelRates::Attention& rates() const {
    return r_.cache_type == quant::DType::kI8 ? machine_.rates.bytes : machine_.rates.words;
  }
  // Seconds of one thread for so many products as attention makes them.
  double products_of_words(double n) const {
    return machine_.rates.words.attend / (128 * 1088 * 256.0) * n * 1e-6 * slower_;
  }
  // In absorbed form, its keys loaded for it alone, the heads' queries and results carried into and out of the latent
  // space.
  double sparse_row(double heads) const {
    const auto latent = static_cast<double>(c_.kv_lora_rank), rope = static_cast<double>(c_.qk_rope_head_dim),
               seen = static_cast<double>(c_.indexer.top_k);
    const double load = rates().load * seen / kPromptChunk * (latent + rope) / 576 * 1e-6 * slower_;
    return (load + products_of_words(heads * (seen * (2 * latent + rope) +
                                              latent * static_cast<double>(c_.qk_nope_head_dim + c_.v_head_dim)))) /
           kAttentionShare;
  }
  double scored_row() const {
    const double seen = static_cast<double>(r_.depth) + rows_ / 2;
    return products_of_words(seen * static_cast<double>(c_.indexer.n_heads * c_.indexer.head_dim)) / kAttentionShare +
           seen * kChooseCycles / machine_.clock_ghz.value * 1e-9;
  }
  double attention(double n_rows, double heads, double n_members) const {
    const double make =
        rates().make * static_cast<double>(c_.kv_lora_rank * (c_.qk_nope_head_dim + c_.v_head_dim)) / (512 * 256);
    const double row = rates().prompt / kMeasuredRows *
                       static_cast<double>(c_.qk_nope_head_dim + c_.qk_rope_head_dim + c_.v_head_dim) / 320;
    const auto depth = static_cast<double>(r_.depth);
    double parts = 1;
    while (heads * parts < 3 * n_members && n_rows / (parts + 1) >= kMeasuredRows) ++parts;
    double us = 0;  // of a head
    for (double part = 0; part < parts; ++part) {
      const double begin = n_rows * part / parts, end = n_rows * (part + 1) / parts;
      us += (depth + end) / kPromptChunk * make;
      // Rows see what is before them; a chunk that some of them see is multiplied with all of those.
      us += ((depth + (begin + end) / 2) / kPromptChunk + 0.5) * (end - begin) * row;
    }
    if (heads == 0) return 0;
    const double units = heads * parts, rounds = std::ceil(units / n_members) / (units / n_members);
    return us * heads * rounds / n_members * 1e-6 * slower_;
  }

  // Grouped queries: the keys and values of a head are loaded by each unit, and a lane is a row and a query head.
  double grouped_attention(const BlockPlan& block) const {
    const std::int64_t window = c_.layer(block.layer).window;
    double load = 0, lane = 0;  // us for kPromptChunk positions
    for (const quant::DType type : {r_.cache_type, r_.value_cache_type.value_or(r_.cache_type)}) {
      const KernelRates::Attention& rates = type == quant::DType::kI8 ? machine_.rates.bytes : machine_.rates.words;
      load += rates.load * static_cast<double>(c_.head_dim) / 576 * kCachedHeadLoad;
      lane += rates.prompt / kMeasuredRows * static_cast<double>(c_.head_dim) / 320;
    }
    const auto group = static_cast<double>(c_.n_heads / c_.n_kv_heads);
    double seen = static_cast<double>(r_.depth) + rows_ / 2;
    if (window > 0) seen = std::min(seen, static_cast<double>(window) + kPromptChunk / 2);
    double longest = 0;
    for (int p = 0; p < parts_.n_parts(); ++p) {
      const auto heads = static_cast<double>(block.parts[static_cast<std::size_t>(p)].size());
      const double units = std::ceil(rows_ * group / kGroupedLanes);
      longest = std::max(
          longest, (seen / kPromptChunk + 0.5) * heads * (units * load + rows_ * group * lane) / parts_.n_members(p));
    }
    return longest * 1e-6 * slower_ / kPromptShare;
  }

  const Plan& plan_;
  const ModelConfig& c_;
  const MachineSpec& machine_;
  const PromptRequest& r_;
  const NodeParts parts_;
  const double rows_, slower_;
  double touched_ = 1;
};

}  // namespace

TimeSplit prompt_time(const Plan& plan, const MachineSpec& machine, const PromptRequest& request) {
  const Prompt prompt(plan, machine, request);
  TimeSplit split;
  for (const BlockKindCount& kind : kinds_of_blocks(plan))
    split += prompt.block(plan.blocks[kind.first]) * static_cast<double>(kind.n);
  return split;
}

TimeSplit prompt_block_time(const Plan& plan, const MachineSpec& machine, const PromptRequest& request,
                            const BlockPlan& block, bool only_routed) {
  return Prompt(plan, machine, request).block(block, only_routed);
}

}  // namespace dodeca::runtime::predict
