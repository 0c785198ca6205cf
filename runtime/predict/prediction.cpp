#include "runtime/predict/prediction.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "runtime/predict/prompt_time.hpp"

namespace dodeca::runtime::predict {
namespace {

std::vector<std::string> notes_of(const Plan& plan, const MachineSpec& machine, const std::optional<CardPlan>& card,
                                  const StepTime& step, double local_seconds) {
  std::vector<std::string> notes;
  if (machine.rates.origin.evidence == Evidence::kAssumed)
    notes.push_back(fmt::format("The kernels' rates are assumed: {}.", machine.rates.origin.source));
  if (machine.sockets.value > 1)
    notes.push_back(
        fmt::format("Pages lie on the sockets as they come, so that a socket reads from the other one as much as from "
                    "its own. If each "
                    "read from its own memory alone, a step would take {:.1f} ms instead of {:.1f}, without what they "
                    "would exchange.",
                    1e3 * local_seconds, 1e3 * step.seconds()));
  for (const quant::DType type : step.unknown_types)
    notes.push_back(fmt::format("Nobody measured how fast {} is multiplied; its arithmetic counts as nothing.",
                                quant::name_of(type)));
  if (card)
    notes.push_back(
        "No kernel was measured on a card of this kind: the card's part is computed from its data sheet and from "
        "shares "
        "of it that are assumed.");
  if (card && (card->offload.n_hot_layers > 0 || card->offload.n_deferring > 0))
    notes.push_back(
        "Experts that a run uses most on the card, and experts that are added later, are not in the prediction.");
  const bool gqa =
      std::ranges::any_of(plan.blocks, [](const BlockPlan& b) { return b.kind == BlockKind::kGqaAttention; });
  if (gqa) notes.push_back("Attention with grouped queries is counted for prompts and not for generated tokens.");
  return notes;
}

}  // namespace

Prediction predict(const Plan& plan, const MachineSpec& machine, const std::optional<CardPlan>& card,
                   const PredictionRequest& request) {
  Prediction p{.machine = machine,
               .card = card ? std::optional(card->card) : std::nullopt,
               .offload = card ? std::optional(card->offload) : std::nullopt,
               .n_threads = request.n_threads > 0 ? request.n_threads : machine.n_cores(),
               .n_parallel = request.n_parallel,
               .micro_batch = request.micro_batch,
               .points = {},
               .passes = {},
               .notes = {}};
  p.n_prompt_threads = request.n_prompt_threads > 0 ? request.n_prompt_threads : p.n_threads;
  const bool on_card = card && card->offload.any();
  if (on_card) p.micro_batch = std::min(p.micro_batch, card->offload.micro_batch);
  const std::uint64_t card_cache =
      on_card ? device::device_row_bytes(plan.config, card->offload.cache_type) : std::uint64_t{0};
  const auto steps = [&](const MachineSpec& on, const StepRequest& step) {
    return on_card ? step_time_with_card(plan, card->placed, on, card->card, card_cache, step)
                   : step_time(plan, on, step);
  };
  for (const std::int64_t depth : request.depths) {
    if (depth > 0 && request.context > 0 && depth > request.context) continue;
    const StepRequest step{
        .n_threads = p.n_threads, .depth = depth, .n_rows = request.n_parallel, .cache_type = request.cache_type};
    const PromptRequest prompt{
        .n_threads = p.n_prompt_threads, .n_rows = p.micro_batch, .depth = depth, .cache_type = request.cache_type};
    DepthPoint point{.depth = depth, .step = {}, .prompt = {}};
    point.step = steps(machine, step);
    point.prompt = on_card ? prompt_time_with_card(plan, card->placed, machine, card->card, prompt)
                           : prompt_time(plan, machine, prompt);
    point.tokens_per_s = static_cast<double>(request.n_parallel) / point.step.seconds();
    point.prompt_per_s = static_cast<double>(p.micro_batch) / point.prompt.sum();
    p.points.push_back(std::move(point));
  }
  for (const std::int64_t n_rows : {512, 1024, 2048, 4096}) {
    if (on_card) break;
    const TimeSplit split = prompt_time(plan, machine, {.n_threads = p.n_prompt_threads, .n_rows = n_rows});
    p.passes.push_back({n_rows, static_cast<double>(n_rows) / split.sum(), split.binding()});
  }
  const StepRequest first{.n_threads = p.n_threads,
                          .depth = p.points.front().depth,
                          .n_rows = request.n_parallel,
                          .cache_type = request.cache_type};
  const double local = machine.sockets.value > 1 ? steps(machine.with_local_reads(), first).seconds() : 0;
  p.notes = notes_of(plan, machine, card, p.points.front().step, local);
  return p;
}

}  // namespace dodeca::runtime::predict
