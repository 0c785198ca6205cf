#include "runtime/predict/prediction.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "runtime/predict/card_prompt.hpp"
#include "runtime/predict/card_time.hpp"
#include "runtime/predict/node_parts.hpp"
#include "runtime/predict/prompt_time.hpp"

namespace dodeca::runtime::predict {
namespace {

void note_parts(const Prediction& p, const std::optional<CardPlan>& card, std::vector<std::string>& notes) {
  if (p.n_parts > 1) {
    notes.push_back(
        "Nobody has measured parts on several memory nodes: what an exchange costs is computed from the time of a "
        "cache line's way and from the links between sockets.");
    notes.push_back(
        "Each memory node has a copy of the cache, and more bandwidth of nodes that are smaller than a socket does not "
        "count: nobody measured it here.");
  } else if (p.machine.sockets.value > 1) {
    notes.push_back(
        "Pages are interleaved over the sockets, so that a socket reads from the other one as much as from its own.");
    if (card && card->offload.any())
      notes.push_back("A card takes no block that is cut into parts: with a card there is one part.");
  }
}

void note_hot_experts(const CardPlan& card, const PredictionRequest& request, std::vector<std::string>& notes) {
  const device::Offload& offload = card.offload;
  if (offload.n_hot_layers > 0) {
    const std::int64_t n = card.placed.config.n_routed_experts;
    notes.push_back(
        fmt::format("Slots for {} of {} experts in each of {} layers are assumed to serve {:.1f} % of their uses: {}.",
                    offload.n_hot_slots, n, offload.n_hot_layers, 100 * request.hot.of(offload.n_hot_slots, n),
                    request.hot.text()));
  }
  if (offload.n_deferring > 0)
    notes.push_back(fmt::format(
        "{} layers add some experts of a row one layer later; that changes what the model says.", offload.n_deferring));
}

std::vector<std::string> notes_of(const Prediction& p, const std::optional<CardPlan>& card,
                                  const PredictionRequest& request) {
  const MachineSpec& machine = p.machine;
  const StepTime& step = p.points.front().step;
  std::vector<std::string> notes;
  if (machine.rates.origin.evidence == Evidence::kAssumed)
    notes.push_back(fmt::format("The kernels' rates are assumed: {}.", machine.rates.origin.source));
  note_parts(p, card, notes);
  for (const quant::DType type : step.unknown_types)
    notes.push_back(fmt::format("Nobody measured how fast {} is multiplied; its arithmetic counts as nothing.",
                                quant::name_of(type)));
  if (card)
    notes.push_back(
        "No kernel was measured on a card of this kind: the card's part is computed from its data sheet and from "
        "shares of it that are assumed.");
  if (card) note_hot_experts(*card, request, notes);
  return notes;
}

// `step`: of a row per sequence. The layer that drafts takes the tokens that a step gave, then one more row for every
// further draft.
DraftedStep drafted_step(const Plan& plan, const MachineSpec& machine, StepRequest step,
                         const PredictionRequest& request) {
  const std::int64_t n_sequences = step.n_rows;
  DraftedStep drafted;
  for (std::int64_t i = 1; i <= request.n_drafts; ++i)
    drafted.tokens += std::pow(request.accepted, static_cast<double>(i));
  step.rows_per_sequence = 1 + request.n_drafts;
  step.n_rows = n_sequences * step.rows_per_sequence;
  drafted.verify_seconds = step_time(plan, machine, step).seconds();
  step.rows_per_sequence = std::lround(drafted.tokens);
  step.n_rows = n_sequences * step.rows_per_sequence;
  drafted.draft_seconds = draft_time(plan, machine, step).seconds();
  step.rows_per_sequence = 1;
  step.n_rows = n_sequences;
  if (request.n_drafts > 1)
    drafted.draft_seconds += static_cast<double>(request.n_drafts - 1) * draft_time(plan, machine, step).seconds();
  drafted.tokens_per_s =
      drafted.tokens * static_cast<double>(n_sequences) / (drafted.verify_seconds + drafted.draft_seconds);
  return drafted;
}

}  // namespace

double Prediction::read_bandwidth() const { return NodeParts(machine, n_threads, n_parts).read_bandwidth(); }

Prediction predict(const Plan& plan, const MachineSpec& machine, const std::optional<CardPlan>& card,
                   const PredictionRequest& request) {
  Prediction p{.machine = machine,
               .card = card ? std::optional(card->card) : std::nullopt,
               .offload = card ? std::optional(card->offload) : std::nullopt,
               .n_threads = request.n_threads > 0 ? request.n_threads : machine.n_cores(),
               .n_parts = static_cast<int>(plan.options.shares.size()),
               .n_parallel = request.n_parallel,
               .micro_batch = request.micro_batch,
               .n_drafts = request.n_drafts,
               .accepted = request.accepted,
               .points = {},
               .passes = {},
               .power = power_of(machine, card ? &card->card : nullptr),
               .notes = {}};
  p.n_prompt_threads = request.n_prompt_threads > 0 ? request.n_prompt_threads : p.n_threads;
  const bool on_card = card && card->offload.any();
  if (on_card) p.micro_batch = std::min(p.micro_batch, card->offload.micro_batch);
  const std::uint64_t card_cache =
      on_card ? device::device_row_bytes(plan.config, card->offload.cache_type) : std::uint64_t{0};
  for (const std::int64_t depth : request.depths) {
    if (depth > 0 && request.context > 0 && depth > request.context) continue;
    const StepRequest step{.n_threads = p.n_threads,
                           .depth = depth,
                           .n_rows = request.n_parallel,
                           .cache_type = request.cache_type,
                           .value_cache_type = request.value_cache_type,
                           .hot = request.hot};
    const PromptRequest prompt{.n_threads = p.n_prompt_threads,
                               .n_rows = p.micro_batch,
                               .depth = depth,
                               .cache_type = request.cache_type,
                               .value_cache_type = request.value_cache_type};
    DepthPoint point{.depth = depth, .step = {}, .prompt = {}};
    point.step = on_card ? step_time_with_card(plan, card->placed, machine, card->card, card_cache, step)
                         : step_time(plan, machine, step);
    point.prompt = on_card ? card_prompt(plan, {card->placed, card->card, card->offload}, machine, prompt).split
                           : prompt_time(plan, machine, prompt);
    point.tokens_per_s = static_cast<double>(request.n_parallel) / point.step.seconds();
    point.prompt_per_s = static_cast<double>(p.micro_batch) / point.prompt.sum();
    if (p.n_drafts > 0) point.drafted = drafted_step(plan, machine, step, request);
    p.points.push_back(std::move(point));
  }
  for (const std::int64_t n_rows : {512, 1024, 2048, 4096}) {
    if (on_card) break;
    const TimeSplit split = prompt_time(plan, machine, {.n_threads = p.n_prompt_threads, .n_rows = n_rows});
    p.passes.push_back({n_rows, static_cast<double>(n_rows) / split.sum(), split.binding()});
  }
  p.notes = notes_of(p, card, request);
  return p;
}

}  // namespace dodeca::runtime::predict
