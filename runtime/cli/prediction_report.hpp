// A prediction as text and as JSON. Every figure says whether it was measured, stands in the catalogue, or was computed.
#pragma once

#include <string>
#include <vector>

#include "runtime/cli/plan_prediction.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime::cli {

// verbose: the machine's figures with their sources.
std::string prediction_text(const PredictedPlan& plan, bool verbose);
Json prediction_json(const PredictedPlan& plan);

// Several machines side by side, as a Markdown table.
std::string comparison_text(const std::string& model, const std::vector<PredictedPlan>& plans);

// Tokens per second of generating and of prompts against the context, a line per machine, as SVG.
std::string prediction_plot(const std::string& model, const std::vector<PredictedPlan>& plans);

}  // namespace dodeca::runtime::cli
