// dodeca plan --simulate: prompts on a machine with a card, pass after pass, by the schedule that the program runs and a
// virtual clock.
#pragma once

#include <string>
#include <vector>

#include "runtime/cli/plan_prediction.hpp"
#include "runtime/load/json.hpp"
#include "runtime/predict/card_prompt.hpp"

namespace dodeca::runtime::cli {

// A prompt behind `depth` cached tokens in passes of `micro_batch` rows.
struct SimulatedPrompt {
  std::int64_t micro_batch = 0, depth = 0;
  double tokens_per_s = 0;
  predict::Bound bound = predict::Bound::kArithmetic;  // of the last pass
  double streamed_experts = 0;                         // of a layer, on average
};

struct Simulation {
  std::int64_t n_prompt = 0;
  std::vector<std::int64_t> micro_batches, depths;  // those that the card has room for
  std::vector<SimulatedPrompt> prompts;             // by micro-batch, then by depth
  double without_streaming = 0;                     // tokens per second at depth 0 with the fastest micro-batch
  std::int64_t least_rows = -1;                     // of a pass that streams; -1: none does
  // The first pass of the fastest micro-batch at depth 0, as far as experts stream in it.
  std::int64_t pass_rows = 0;
  predict::CardPrompt pass;
  PredictedPlan predicted;  // with that micro-batch

  const SimulatedPrompt& at(std::size_t micro_batch, std::size_t depth) const {
    return prompts[micro_batch * depths.size() + depth];
  }
};
Simulation simulate(const PlanArguments& arguments, const PlannedModel& model);
// arguments.n_prompt tokens at depth 0 in passes of `n_rows`, or of what the card has room for.
SimulatedPrompt simulate_prompt(const PlanArguments& arguments, const PlannedModel& model, std::int64_t n_rows);

// verbose: the steps of one layer too.
std::string simulation_text(const Simulation& simulation, bool verbose);
Json simulation_json(const Simulation& simulation);
// What link, card and processors do in a few layers, against time, as SVG.
std::string simulation_plot(const std::string& model, const Simulation& simulation);

}  // namespace dodeca::runtime::cli
