// dodeca plan: where a model's blocks lie on this machine, what they take and which kernels multiply them. Reads headers
// only.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/cli/command.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/cli/plan_report.hpp"
#include "runtime/cli/recipe_option.hpp"
#include "runtime/engine/engine.hpp"
#include "runtime/engine/workers.hpp"
#include "runtime/model/shapes.hpp"

namespace dodeca::runtime::cli {
namespace {

struct PlanArguments {
  ModelOptions model;
  std::string shape, recipe;
  std::int64_t parallel = 1;
  bool json = false, mtp = false;
};

PlanArguments parse_plan(std::span<const std::string> args, Console& console) {
  PlanArguments parsed;
  Options options("dodeca plan", "Says where a model lies on this machine, what it takes, and why, without loading it.",
                  "dodeca plan -m model.gguf -c 32768\n  dodeca plan --shape deepseek-v3 --recipe ud-q2_k_xl --json");
  parsed.model.add_flags(options);
  options.choice("--shape", parsed.shape, shape_names(), "a published model's shape instead of -m");
  options.value("--recipe", parsed.recipe, "with --shape: recipe or type of its weights (default: ud-q2_k_xl)", "NAME");
  options.value("-np,--parallel", parsed.parallel, "sequences that share the cache (default: 1)", {1, 4096});
  options.flag("--mtp", parsed.mtp, "the multi-token-prediction layers too");
  options.flag("--json", parsed.json, "one JSON object");
  console.add_flags(options);
  options.parse(args);
  if (parsed.shape.empty() == parsed.model.model.empty()) throw Usage("-m FILE or --shape NAME is needed, one of them");
  if (parsed.shape.empty() && !parsed.recipe.empty()) throw Usage("--recipe goes with --shape: a file has its types");
  if (!parsed.shape.empty() && parsed.mtp) throw Usage("--mtp goes with -m: a shape has the main layers alone");
  if (parsed.recipe.empty()) parsed.recipe = "ud-q2_k_xl";
  if (!parsed.shape.empty()) parsed.model.model = parsed.shape;  // for the checks alone
  parsed.model.check();
  return parsed;
}

Plan plan_of(const PlanArguments& arguments, const Console& console, const gpu::Device* card) {
  PlanOptions options = arguments.model.plan_options(console);
  options.mtp = arguments.mtp;
  Machine machine = this_machine();
  if (card != nullptr) machine.devices.push_back(device_of(*card));
  if (!arguments.shape.empty()) {
    const ModelConfig config = published_shape(arguments.shape);
    const quantize::TypeChoice recipe = parse_recipe("--recipe", arguments.recipe);
    return make_plan(config, random_weight_infos(config, types_of(recipe, config.n_layers)), {}, machine, options);
  }
  return make_plan(*arguments.model.open(console.log()), machine, options);
}

// As `run` and `batch` size their sessions.
PlannedRun run_of(const PlanArguments& arguments, const Plan& plan) {
  const int here = engine::default_threads(cpu::read_topology());
  const auto threads = [&](std::int32_t asked, int otherwise) { return asked > 0 ? asked : otherwise; };
  const int generation = threads(arguments.model.threads, here);
  PlannedRun run{.executor = arguments.model.session_options(plan.config).executor,
                 .n_threads = std::max(generation, threads(arguments.model.threads_batch, generation)),
                 .context = engine::context_for(plan.config, arguments.model.ctx_size)};
  const auto n_parallel = static_cast<std::int32_t>(arguments.parallel);
  run.executor.n_sequences = engine::Engine::sequences_for(n_parallel);
  run.executor.n_positions = engine::positions_for(run.context, n_parallel);
  run.executor.integer_attention = !plan.options.compute_f32;
  return run;
}

}  // namespace

int cmd_plan(std::span<const std::string> args) {
  Console console;
  const PlanArguments arguments = parse_plan(args, console);
  const std::shared_ptr<gpu::Device> card = arguments.model.device.open(console);
  Plan plan = plan_of(arguments, console, card.get());
  PlannedRun run = run_of(arguments, plan);
  run.cards = cards_text();
  if (card != nullptr) run.offload = place_on_card(arguments.model.device, plan, run.executor);
  print_out(arguments.json ? plan_json(plan, run).dump(1) + "\n" : plan_text(plan, run, console.verbose));
  flush_out();
  return 0;
}

}  // namespace dodeca::runtime::cli
