// The plan of a model on a machine that is not here, and what it will do there.
#pragma once

#include <string>
#include <vector>

#include "runtime/cli/plan_options.hpp"
#include "runtime/cli/plan_report.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/predict/prediction.hpp"

namespace dodeca::runtime::cli {

// A model by its shapes: read once, planned for every machine.
struct PlannedModel {
  ModelConfig config;
  std::vector<WeightInfo> weights, mtp_weights;
  bool drafts = false;  // the layer of multi-token prediction is loaded
};
// Throws Error{kUnsupported} where drafts are asked for by number and the model has no layer for them.
PlannedModel model_of(const PlanArguments& arguments, const Console& console);

struct PredictedPlan {
  Plan plan;  // as placed
  PlannedRun run;
  predict::Prediction prediction;
  std::string fit;  // whether it fits; empty: nobody knows how much memory there is
  bool fits = true;
  std::vector<std::string> advice;  // what would help where it does not
};
PredictedPlan predict_plan(const PlanArguments& arguments, const PlannedModel& model, const std::string& machine);

// The plan without a card, that a prediction with one goes out from.
Plan plan_on_processors(const PlanArguments& arguments, const PlannedModel& model, const std::string& machine);

// The same of a published shape with a q8_0 cache, as pages of this project show it.
struct ShapeOptions {
  std::string card = {};  // "": none
  std::string numa = "auto";
};
PlanArguments shape_arguments(const std::string& shape, const std::string& recipe, const std::string& machine,
                              const ShapeOptions& options);
PredictedPlan predict_shape(const std::string& shape, const std::string& recipe, const std::string& machine,
                            const ShapeOptions& options);

// The sizes of a run of this plan on a machine with so many cores, as `run` and `batch` size their sessions.
PlannedRun run_of(const PlanArguments& arguments, const Plan& plan, int n_cores);

}  // namespace dodeca::runtime::cli
