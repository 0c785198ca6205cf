// What `dodeca plan` is asked: a model or a shape, a machine that is here or one of the catalogue, and how to show it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/cli/console.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/predict/machine_spec.hpp"
#include "runtime/predict/token_time.hpp"

namespace dodeca::runtime::cli {

struct PlanArguments {
  ModelOptions model;
  std::string shape, recipe;
  std::string machine;                // "": this one, as it is here
  std::string gpu;                    // a card of the catalogue, or a file; the cards here are model.device's
  std::vector<std::string> machines;  // --compare: those, one after the other
  std::string plot;                   // a file
  std::int64_t parallel = 1;
  predict::HotHits hot;
  double accepted = -1;          // share of drafts, for predictions; negative: nobody said
  std::int64_t n_prompt = 8192;  // tokens of the prompt that is simulated
  bool json = false, backtest = false, simulate = false;

  bool predicts() const { return !machine.empty() || !machines.empty(); }
  // As recipes and files name it.
  std::string model_text() const { return shape.empty() ? model.model : shape + " " + recipe; }
};

// Throws Usage; HelpShown.
PlanArguments parse_plan(std::span<const std::string> args, Console& console);

}  // namespace dodeca::runtime::cli
