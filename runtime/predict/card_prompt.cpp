#include "runtime/predict/card_prompt.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/device/stream_measure.hpp"
#include "runtime/device/streamed_experts.hpp"
#include "runtime/predict/calibration.hpp"
#include "runtime/predict/token_work.hpp"

namespace dodeca::runtime::predict {
namespace {

using device::StreamActor;
using device::StreamStep;
using device::StreamWork;

class CardPass {
 public:
  CardPass(const Plan& plan, const CardPart& part, const MachineSpec& machine, const PromptRequest& request)
      : plan_(plan),
        part_(part),
        machine_(machine),
        r_(request),
        rows_(static_cast<double>(request.n_rows)),
        schedule_(static_cast<int>(std::max<std::int64_t>(1, part.offload.n_stream_buffers))) {
    const std::int64_t least = part.offload.n_streamed_layers > 0 ? least_streamed_rows(part.placed, part.offload) : -1;
    streams_ = least >= 0 && request.n_rows >= least;
  }

  CardPrompt run() {
    const Plan& placed = part_.placed;
    for (std::size_t i = 0; i < placed.blocks.size(); ++i) {
      const BlockPlan& block = placed.blocks[i];
      if (block.layer >= plan_.config.n_layers || block.kind == BlockKind::kMtp) continue;
      if (block.place == Place::kCpu) {
        before_ += prompt_block_time(plan_, machine_, r_, plan_.blocks[i]);
      } else if (block.kind == BlockKind::kMoeFfn && block.experts_place == Place::kCpu) {
        routed(block, plan_.blocks[i]);
      } else {
        before_ += on_card(block, true);
      }
      if (block.kind == BlockKind::kHead) break;
    }
    result_.split += before_;
    if (layers_.empty()) return std::move(result_);
    finish();
    return std::move(result_);
  }

 private:
  struct Layer {
    std::array<double, device::kStreamWorks> seconds = {};  // of what is done once
    std::vector<double> copies, products;                   // of the layer's waves
    double& of(StreamWork work) { return seconds[static_cast<std::size_t>(work)]; }
  };

  // A block on the card; with its routed experts, where they are there.
  TimeSplit on_card(const BlockPlan& block, bool with_experts) const {
    const Plan& placed = part_.placed;
    const ModelConfig& c = placed.config;
    double macs = 0, bytes = 0, f16_macs = 0;
    for (const std::size_t w : block.weights) {
      const WeightPlan& weight = placed.weights[w];
      const bool routed = is_routed(weight.id.role);
      if (weight.layout == nullptr || (routed && !with_experts)) continue;
      const double used = routed ? static_cast<double>(c.n_experts_per_tok) : static_cast<double>(weight.n_slices);
      macs += static_cast<double>(weight.n_in * weight.n_out) * used * (block.kind == BlockKind::kHead ? 1 : rows_);
      // Experts are read again for every range of rows.
      bytes += static_cast<double>(weight.bytes) *
               (routed ? std::ceil(rows_ / static_cast<double>(device::expert_rows_at_once(c))) : 1.0);
    }
    if (block.kind == BlockKind::kMlaAttention) f16_macs = attention_macs(block);
    const double compute = macs / part_.card.weight_macs() + f16_macs / part_.card.f16_macs(),
                 read = bytes / part_.card.read_bytes_per_s();
    TimeSplit here;
    here.add(compute > read ? Bound::kCardArithmetic : Bound::kCardMemory, std::max(compute, read));
    here.add(Bound::kCardLaunches,
             1e-6 * part_.card.launch_us.value *
                 (block.kind == BlockKind::kMlaAttention ? kCardAttentionKernels : kCardFfnKernels));
    return here;
  }

  // Over the cache, in the form that the program takes.
  double attention_macs(const BlockPlan& block) const {
    const ModelConfig& c = part_.placed.config;
    const double heads = static_cast<double>(c.n_heads), depth = static_cast<double>(r_.depth),
                 seen = rows_ * (depth + rows_ / 2);
    if (!block.decompresses || r_.n_rows <= short_prompt_rows(c))
      return seen * heads * static_cast<double>(2 * c.kv_lora_rank + c.qk_rope_head_dim);
    return seen * heads * static_cast<double>(c.qk_nope_head_dim + c.qk_rope_head_dim + c.v_head_dim) +
           (depth + rows_) * heads * static_cast<double>((c.qk_nope_head_dim + c.v_head_dim) * c.kv_lora_rank);
  }

  // Rows go as floats and come back as floats.
  double rows_over_link() const {
    return rows_ * static_cast<double>(plan_.config.hidden_size) * sizeof(float) / part_.card.link_bytes_per_s() +
           0.5e-6 * part_.card.round_trip_us.value;
  }

  void routed(const BlockPlan& block, const BlockPlan& here) {
    const TimeSplit shared = on_card(block, false);
    const TimeSplit experts = prompt_block_time(plan_, machine_, r_, here, true);
    if (!streams_ || block.n_wave_experts == 0) {
      TimeSplit there = experts;
      there.add(Bound::kCardLink, 2 * rows_over_link());
      before_ += there.sum() > shared.sum() ? there : shared;
      return;
    }
    // Experts with as many rows each.
    const ModelConfig& c = plan_.config;
    const double touched =
        std::max(1.0, std::round(expected_experts(c.n_routed_experts, c.n_experts_per_tok, r_.n_rows)));
    const auto each = static_cast<std::int32_t>(
        std::max(1.0, std::round(rows_ * static_cast<double>(c.n_experts_per_tok) / touched)));
    std::vector<std::int32_t> n_rows(static_cast<std::size_t>(c.n_routed_experts), 0);
    std::fill_n(n_rows.begin(), static_cast<std::size_t>(touched), each);
    const device::StreamRates rates = stream_rates(part_.placed, block, *part_.offload.stream_speeds);
    const device::StreamShape shape{.n_buffers = static_cast<int>(part_.offload.n_stream_buffers),
                                    .wave_experts = block.n_wave_experts};
    const double seconds = seconds_ahead(part_.placed, block.layer, *part_.offload.stream_speeds, r_.n_rows);
    const std::vector<std::vector<std::int32_t>> ahead =
        waves_ahead(c.n_routed_experts, c.n_experts_per_tok, r_.n_rows, shape, rates, seconds);
    const device::Division division = divide_experts(n_rows, shape, rates, {.waves = ahead, .seconds = seconds});
    Layer& layer = layers_.emplace_back();
    layer.of(StreamWork::kRoute) = before_.sum() + rows_over_link();
    layer.of(StreamWork::kShared) = shared.sum();
    layer.of(StreamWork::kMerge) = rows_over_link();
    before_ = {};
    const double all_on_host = divide_experts(n_rows, {}, rates).host_seconds;
    layer.of(StreamWork::kExperts) = experts.sum() * division.host_seconds / all_on_host;
    for (const device::Wave& wave : division.waves) {
      const auto n = static_cast<double>(wave.experts.size());
      layer.copies.push_back(n * rates.copied_expert);
      layer.products.push_back(n * rates.device_expert + rates.device_row * static_cast<double>(wave.rows()) +
                               1e-6 * part_.card.launch_us.value * kCardFfnKernels);
      result_.streamed_experts += n;
      result_.streamed_bytes += n * static_cast<double>(device::expert_bytes(part_.placed, block));
    }
    n_ahead_.push_back(static_cast<std::int64_t>(ahead.size()));
  }

  void finish() {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (i == 0) schedule_.prefetch(0, n_ahead_[0]);
      schedule_.add_layer(static_cast<std::int64_t>(i), std::ssize(layers_[i].copies));
      if (i + 1 < layers_.size()) schedule_.prefetch(static_cast<std::int64_t>(i) + 1, n_ahead_[i + 1]);
    }
    result_.steps = schedule_.steps();
    std::vector<std::size_t> copied(layers_.size()), multiplied(layers_.size());
    const auto seconds = [&](const StreamStep& step) {
      const auto at = static_cast<std::size_t>(step.layer);
      Layer& layer = layers_[at];
      const double s = step.work == StreamWork::kCopy       ? layer.copies[copied[at]++]
                       : step.work == StreamWork::kMultiply ? layer.products[multiplied[at]++]
                                                            : layer.of(step.work);
      result_.busy[static_cast<std::size_t>(step.actor)] += s;
      return s;
    };
    result_.spans = run_clock(result_.steps, seconds);
    double end = 0;
    for (const StreamSpan& span : result_.spans) end = std::max(end, span.end);
    // The pass is bound by who works most of the time.
    const std::size_t most = static_cast<std::size_t>(std::ranges::max_element(result_.busy) - result_.busy.begin());
    constexpr Bound kBounds[] = {Bound::kCardLink, Bound::kCardArithmetic, Bound::kArithmetic};
    result_.split.add(kBounds[most], end);
    result_.streamed_experts /= static_cast<double>(layers_.size());
  }

  const Plan& plan_;
  const CardPart& part_;
  const MachineSpec& machine_;
  const PromptRequest& r_;
  const double rows_;
  bool streams_ = false;
  TimeSplit before_;  // of blocks since the last layer that streamed
  std::vector<Layer> layers_;
  std::vector<std::int64_t> n_ahead_;  // waves that are copied before their layer
  device::StreamSchedule schedule_;
  CardPrompt result_;
};

}  // namespace

std::optional<device::StreamSpeeds> stream_speeds(const Plan& plan, const MachineSpec& machine, const CardSpec& card,
                                                  int n_threads) {
  const BlockPlan* block = plan.n_parts() == 1 ? device::first_streamable(plan) : nullptr;
  if (block == nullptr) return std::nullopt;
  const ModelConfig& c = plan.config;
  const auto n_experts = static_cast<double>(c.n_routed_experts);
  const auto expert = [&](std::int64_t rows) {
    const std::int64_t all = rows * c.n_routed_experts / c.n_experts_per_tok;
    return prompt_block_time(plan, machine, {.n_threads = n_threads, .n_rows = all}, *block, true).sum() / n_experts;
  };
  const device::ExpertCosts costs =
      device::expert_costs(expert(device::kFewerStreamRows), expert(device::kMoreStreamRows));
  return device::StreamSpeeds{
      .link_bytes_per_s = card.link_bytes_per_s(),
      .device_bytes_per_s = card.read_bytes_per_s(),
      .device_macs_per_s = card.weight_macs(),
      .host_bytes_per_s = static_cast<double>(device::expert_bytes(plan, *block)) / costs.expert,
      .host_macs_per_s = static_cast<double>(device::expert_macs(c)) / costs.row};
}

CardPrompt card_prompt(const Plan& plan, const CardPart& part, const MachineSpec& machine,
                       const PromptRequest& request) {
  return CardPass(plan, part, machine, request).run();
}

}  // namespace dodeca::runtime::predict
