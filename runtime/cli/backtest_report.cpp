#include "runtime/cli/backtest_report.hpp"

#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/cli/plan_prediction.hpp"
#include "runtime/cli/simulation.hpp"
#include "runtime/cli/two_sockets_report.hpp"
#include "runtime/predict/backtest.hpp"
#include "runtime/predict/catalogue.hpp"

namespace dodeca::runtime::cli {
namespace {

using predict::Backtest;
using predict::DepthPoint;
using predict::Tested;

// What the README shows: a pure machine, and the same with a 24 GB card.
constexpr const char* kShown[] = {"epyc-7763",   "epyc-9354",        "epyc-9554",         "epyc-9654",
                                  "2xepyc-9554", "epyc-9355:mt6400", "epyc-9575f:mt6400", "epyc-9755"};
constexpr const char* kShownCard = "rtx-4090";
constexpr const char* kShownShape = "deepseek-v3";
constexpr const char* kShownRecipe = "ud-q2_k_xl";

Plan plan_of_shape(const std::string& shape) {
  Console console;
  PlanArguments arguments;
  arguments.shape = shape;
  arguments.recipe = kShownRecipe;
  const PlannedModel model = model_of(arguments, console);
  return make_plan(model.config, model.weights, {}, {}, {.isa = cpu::Isa::kScalar});
}

Backtest run_backtest() {
  return predict::backtest(predict::parse_published(predict::published_text(), "published.json"), plan_of_shape);
}

// tokens/s at a depth, along a line between those that are predicted.
double at_depth(const predict::Prediction& p, std::int64_t depth, double DepthPoint::*value) {
  for (std::size_t i = 1; i < p.points.size(); ++i) {
    const DepthPoint &a = p.points[i - 1], &b = p.points[i];
    if (depth > b.depth) continue;
    const double t = static_cast<double>(depth - a.depth) / static_cast<double>(b.depth - a.depth);
    return 1 / ((1 - t) / (a.*value) + t / (b.*value));
  }
  return p.points.back().*value;
}

std::string percent_text(double error) { return fmt::format("{:+.0f} %", 100 * error); }

std::string errors_text(const predict::Errors& errors) {
  return fmt::format("{} results, mean error {:.1f} %, worst {:+.0f} % ({})", errors.n, 100 * errors.mean,
                     100 * errors.worst, errors.worst_id);
}

std::string results_table(const Backtest& test) {
  std::string text =
      "| | system | machine | types | depth | tg published | tg predicted | error | pp published | pp predicted | "
      "error | dodeca tg |\n"
      "|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
  for (const Tested& t : test.results) {
    const predict::Published& p = t.published;
    const PredictedPlan own = predict_shape(p.shape, p.recipe, p.machine, {.card = p.card});
    const bool alone = p.prompt_per_s > 0 && p.card.empty();  // card_prompts_table has the others
    text +=
        fmt::format("| {} | {} | {}{} | {}{} | {} | {:.2f} | {} | {} | {} | {} | {} | {:.1f} ({}) |\n", p.id, p.engine,
                    p.machine, p.card.empty() ? "" : " + " + p.card, p.shape == kShownShape ? "" : p.shape + " ",
                    p.types, p.depth, p.tokens_per_s, t.predicted ? fmt::format("{:.2f}", *t.predicted) : "",
                    t.predicted ? percent_text(t.error()) : "", alone ? fmt::format("{:g}", p.prompt_per_s) : "",
                    alone && t.prompt ? fmt::format("{:.0f}", *t.prompt) : "",
                    alone && t.prompt ? percent_text(t.prompt_error()) : "",
                    at_depth(own.prediction, p.depth, &DepthPoint::tokens_per_s), p.recipe);
  }
  return text;
}

// Tokens per second of a prompt of 8,192 tokens in passes of so many rows, or of those that the card has room for.
std::string simulated_text(const predict::Published& p, std::int64_t n_rows) {
  const PlanArguments arguments = shape_arguments(p.shape, p.recipe, p.machine, {.card = p.card});
  const SimulatedPrompt prompt = simulate_prompt(arguments, model_of(arguments, Console()), n_rows);
  return fmt::format("{:.0f}{}", prompt.tokens_per_s,
                     prompt.micro_batch < n_rows ? fmt::format(" ({} rows)", prompt.micro_batch) : "");
}

std::string card_prompts_table(const Backtest& test) {
  std::string text =
      "| | system | machine | types | experts' products | pp published | pp predicted | error | dodeca, 2,048 rows | "
      "8,192 rows |\n"
      "|---|---|---|---|---|--:|--:|--:|--:|--:|\n";
  for (const Tested& t : test.results) {
    const predict::Published& p = t.published;
    if (p.card.empty() || p.prompt_per_s == 0) continue;
    text += fmt::format(
        "| {} | {} | {} + {} | {} | {} | {:g} | {} | {} | {} | {} ({}) |\n", p.id, p.engine, p.machine, p.card, p.types,
        p.prompt_streams ? fmt::format("card, copied for {} rows", p.prompt_rows) : "processors", p.prompt_per_s,
        t.prompt ? fmt::format("{:.0f}", *t.prompt) : "", t.prompt ? percent_text(t.prompt_error()) : "",
        simulated_text(p, 2048), simulated_text(p, 8192), p.recipe);
  }
  return text;
}

std::string sources_text(const Backtest& test) {
  std::string text;
  for (const Tested& t : test.results) text += fmt::format("- {}: {}\n", t.published.id, t.published.source);
  return text;
}

std::string shown_row(const std::string& machine, const std::string& card) {
  const PredictedPlan p = predict_shape(kShownShape, kShownRecipe, machine, {.card = card});
  std::string text =
      fmt::format("| {}{} |", p.prediction.machine.title, p.prediction.card ? " + " + p.prediction.card->title : "");
  text += fmt::format(" {:.0f} |", p.prediction.read_bandwidth() / 1e9);
  for (const DepthPoint& point : p.prediction.points) text += fmt::format(" {:.1f} |", point.tokens_per_s);
  text += fmt::format(" {:.0f} | {:.0f} |", p.prediction.points.front().prompt_per_s,
                      at_depth(p.prediction, 16384, &DepthPoint::prompt_per_s));
  return text + fmt::format(" {} |\n", predict::name_of(p.prediction.points.front().step.split.binding()));
}

std::string shown_table() {
  std::string text =
      "| machine | GB/s read | tg @0 | tg @4k | tg @16k | tg @32k | pp @0 | pp @16k | tg bound by |\n"
      "|---|--:|--:|--:|--:|--:|--:|--:|---|\n";
  for (const char* machine : kShown) text += shown_row(machine, "");
  for (const char* machine : kShown) text += shown_row(machine, kShownCard);
  return text;
}

}  // namespace

std::string backtest_text() {
  const Backtest test = run_backtest();
  return fmt::format(
      "# Predictions\n\n"
      "Made by `dodeca plan --backtest`. Nothing in the first two sections was measured; in the last two, what "
      "others published was measured by them.\n\n"
      "## DeepSeek-V3, UD-Q2_K_XL, q8_0 cache: predicted tokens/s\n\n{}\n"
      "tg: generated tokens/s of one sequence, pp: prompt tokens/s; @4k: with 4096 tokens in the context. A card takes "
      "what every token reads; its part is computed from its data sheet. Prompts have 2,048 rows a pass, and experts "
      "stream to the card. The kernels' rates were measured on Zen 4 (9004) and Zen 5 (9005); those for 7003 (Zen 3) "
      "are "
      "estimates. Beside a card, two sockets have one part, interleaved. `dodeca plan --shape deepseek-v3 --machine "
      "NAME -v` prints the figures with their sources and every term.\n\n"
      "{}## Against what others have published\n\n"
      "Other engines: bytes of a token over the machine's bandwidth, plus what those engines need beside it: the "
      "median of what the other results had left over (on processors, beside a card, per position of the context), "
      "never with the result itself. pp: the median of the other results' products per cycle and core. The last column "
      "is dodeca with the nearest recipe and a q8_0 cache.\n\n{}\n"
      "tg: {}. pp: {}.\n\n"
      "## Prompts beside a card\n\n"
      "What those engines do is one of two things. Either the processors multiply by the experts while the card waits: "
      "predicted by products per cycle and core, the median of the other such results. Or each pass copies all experts "
      "to the card: predicted by bytes per second, the median of the other such results. These copies go through a "
      "staging buffer (others measured 11 to 18 GB/s for it), take turns with the products, and the processors wait. "
      "dodeca copies from where the weights lie, while card and processors compute, and the processors do their share: "
      "simulated by `dodeca plan --simulate`, for a prompt of 8,192 tokens, nearest recipe, q8_0 cache.\n\n{}\n"
      "{}.\n\n"
      "Sources:\n\n{}",
      shown_table(), two_sockets_text(kShownShape, kShownRecipe), results_table(test), errors_text(test.tokens),
      errors_text(test.prompts), card_prompts_table(test), errors_text(test.card_prompts), sources_text(test));
}

Json backtest_json() {
  const Backtest test = run_backtest();
  Json results = Json::array();
  for (const Tested& t : test.results) {
    results.push_back({{"id", t.published.id},
                       {"engine", t.published.engine},
                       {"machine", t.published.machine},
                       {"card", t.published.card},
                       {"depth", t.published.depth},
                       {"tokens_per_s", t.published.tokens_per_s},
                       {"predicted", t.predicted ? Json(*t.predicted) : Json(nullptr)},
                       {"prompt_tokens_per_s", t.published.prompt_per_s},
                       {"prompt_predicted", t.prompt ? Json(*t.prompt) : Json(nullptr)},
                       {"bytes_ms", t.bytes_ms},
                       {"rest_ms", t.rest_ms},
                       {"source", t.published.source}});
  }
  return {{"dodeca_backtest", 1},
          {"results", std::move(results)},
          {"mean_error", test.tokens.mean},
          {"worst_error", test.tokens.worst},
          {"worst", test.tokens.worst_id},
          {"mean_prompt_error", test.prompts.mean},
          {"worst_prompt_error", test.prompts.worst},
          {"worst_prompt", test.prompts.worst_id},
          {"mean_card_prompt_error", test.card_prompts.mean},
          {"worst_card_prompt_error", test.card_prompts.worst},
          {"worst_card_prompt", test.card_prompts.worst_id}};
}

}  // namespace dodeca::runtime::cli
