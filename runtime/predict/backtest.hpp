// The model of a machine against what others have published for their engines: bytes over bandwidth, as here, and what
// those engines need beside it. What they need is taken from the other results alone, each time without the one that is
// predicted: the median of what was left over of a token on processors, beside a card, for a position of the context, of
// the products per cycle of a prompt, and of the bytes per second in which experts came to a card. An error is therefore
// one of prediction and not of a fit.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/plan/plan.hpp"
#include "runtime/predict/machine_spec.hpp"

namespace dodeca::runtime::predict {

// A line of bench/machines/results/published.json.
struct Published {
  std::string id, engine, machine, card;   // card: "" for none
  std::string shape, types, recipe;        // recipe: the nearest that this program has
  double routed_bits = 0, other_bits = 0;  // of a weight in that file
  std::int64_t depth = 0;
  double tokens_per_s = 0, prompt_per_s = 0;  // 0: not published
  // Of a prompt beside a card: whether the card multiplied by the routed experts, and then for how many rows it copied them.
  bool prompt_streams = false;
  std::int64_t prompt_rows = 0;
  std::string source;
};
std::vector<Published> parse_published(std::string_view text, std::string_view what);

// What a token of a model reads and multiplies, without the types of its weights.
struct ActiveWeights {
  double routed = 0, other = 0, routers = 0;  // weights, those of routers apart, which are float32
  double all_routed = 0;                      // whether they are chosen or not
  double attention_macs = 0;                  // of all layers, per cached position
  double cache_values = 0;                    // of all layers, per cached position
};
ActiveWeights active_weights(const Plan& plan);

struct Tested {
  Published published;
  double bytes_ms = 0;              // of a token, at the bandwidth that the machine's figures give
  double rest_ms = 0;               // what was left of the published token
  std::optional<double> predicted;  // tokens per second
  std::optional<double> prompt;
  double error() const { return *predicted / published.tokens_per_s - 1; }
  double prompt_error() const { return *prompt / published.prompt_per_s - 1; }
};

struct Errors {
  int n = 0;
  double mean = 0, worst = 0;  // 0.1: 10 %; the mean of absolute ones
  std::string worst_id;
};

struct Backtest {
  std::vector<Tested> results;  // in the order of the file
  Errors tokens, prompts, card_prompts;
};
// plan_of: of a shape with any types.
Backtest backtest(const std::vector<Published>& all, const std::function<Plan(const std::string& shape)>& plan_of);

}  // namespace dodeca::runtime::predict
