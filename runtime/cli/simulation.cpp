#include "runtime/cli/simulation.hpp"

#include <algorithm>

#include "runtime/device/streamed_experts.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::int64_t kMicroBatches[] = {256, 512, 1024, 2048, 4096, 8192, 16384};
constexpr std::int64_t kDepths[] = {0, 4096, 16384, 32768};

// With passes of so many rows.
PlanArguments with_rows(PlanArguments arguments, std::int64_t n_rows) {
  arguments.model.batch = arguments.model.micro_batch = n_rows;
  return arguments;
}

// whole: the plan on the processors alone.
predict::CardPrompt pass_of(const Plan& whole, const PredictedPlan& p, std::int64_t n_rows, std::int64_t depth) {
  const predict::Prediction& q = p.prediction;
  return predict::card_prompt(whole, {p.plan, *q.card, *q.offload}, q.machine,
                              {.n_threads = q.n_prompt_threads,
                               .n_rows = n_rows,
                               .depth = depth,
                               .cache_type = p.run.executor.cache_type,
                               .value_cache_type = p.run.executor.value_cache_type});
}

SimulatedPrompt prompt_of(const Plan& whole, const PredictedPlan& p, std::int64_t n_prompt, std::int64_t depth) {
  const std::int64_t micro_batch = p.prediction.micro_batch;  // what the card has room for
  SimulatedPrompt prompt{.micro_batch = micro_batch, .depth = depth};
  double seconds = 0;
  for (std::int64_t done = 0; done < n_prompt; done += micro_batch) {
    const predict::CardPrompt pass = pass_of(whole, p, std::min(micro_batch, n_prompt - done), depth + done);
    seconds += pass.split.sum();
    prompt.bound = pass.split.binding();
    prompt.streamed_experts = std::max(prompt.streamed_experts, pass.streamed_experts);
  }
  prompt.tokens_per_s = static_cast<double>(n_prompt) / seconds;
  return prompt;
}

}  // namespace

Simulation simulate(const PlanArguments& arguments, const PlannedModel& model) {
  Simulation s{.n_prompt = arguments.n_prompt};
  for (const std::int64_t depth : kDepths)
    if (depth == 0 || depth + s.n_prompt <= model.config.context_length) s.depths.push_back(depth);
  PlanArguments deep = arguments;
  if (deep.model.ctx_size <= 0) deep.model.ctx_size = static_cast<std::int32_t>(s.depths.back() + s.n_prompt);
  PlanArguments alone = deep;
  alone.model.device.stream_experts = "off";
  const Plan whole = plan_on_processors(deep, model, arguments.machine);
  double fastest = 0;
  for (const std::int64_t wanted : kMicroBatches) {
    if (wanted > kMicroBatches[0] && wanted / 2 >= s.n_prompt) break;
    PredictedPlan p = predict_plan(with_rows(deep, wanted), model, arguments.machine);
    const std::int64_t micro_batch = p.prediction.micro_batch;
    if (!s.micro_batches.empty() && micro_batch <= s.micro_batches.back()) continue;
    s.micro_batches.push_back(micro_batch);
    for (const std::int64_t depth : s.depths) s.prompts.push_back(prompt_of(whole, p, s.n_prompt, depth));
    const double speed = s.at(s.micro_batches.size() - 1, 0).tokens_per_s;
    if (speed <= fastest) continue;
    fastest = speed;
    s.pass_rows = std::min(micro_batch, s.n_prompt);
    s.pass = pass_of(whole, p, s.pass_rows, 0);
    s.least_rows = device::least_streamed_rows(p.plan, *p.prediction.offload);
    s.predicted = std::move(p);
  }
  s.without_streaming = simulate_prompt(alone, model, s.pass_rows).tokens_per_s;
  return s;
}

SimulatedPrompt simulate_prompt(const PlanArguments& arguments, const PlannedModel& model, std::int64_t n_rows) {
  return prompt_of(plan_on_processors(arguments, model, arguments.machine),
                   predict_plan(with_rows(arguments, n_rows), model, arguments.machine), arguments.n_prompt, 0);
}

}  // namespace dodeca::runtime::cli
