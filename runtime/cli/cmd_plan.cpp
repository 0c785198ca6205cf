// dodeca plan: where a model's blocks lie on a machine, what they take, which kernels multiply them, and what they will
// do there. Reads headers only.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/output_file.hpp"
#include "runtime/cli/backtest_report.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/plan_options.hpp"
#include "runtime/cli/plan_prediction.hpp"
#include "runtime/cli/plan_report.hpp"
#include "runtime/cli/prediction_report.hpp"
#include "runtime/cli/simulation.hpp"
#include "runtime/cli/stream_options.hpp"
#include "runtime/engine/workers.hpp"

namespace dodeca::runtime::cli {
namespace {

// On this machine, as it is.
void plan_here(const PlanArguments& arguments, const PlannedModel& model, const Console& console) {
  const std::shared_ptr<gpu::Device> card = arguments.model.device.open(console);
  const NumaChoice choice = arguments.model.numa_choice(cpu::read_topology());
  PlanOptions options = arguments.model.plan_options(choice, console);
  options.mtp = model.drafts;
  Machine machine = this_machine();
  if (card != nullptr) machine.devices.push_back(device_of(*card));
  Plan plan = make_plan(model.config, model.weights, model.mtp_weights, machine, options);
  PlannedRun run = run_of(arguments, plan, engine::default_threads(choice.topology));
  run.cards = cards_text();
  if (card != nullptr) {
    const std::optional<device::StreamSpeeds> speeds =
        known_stream_speeds(arguments.model.device.stream_experts, *card, run.n_threads, plan, console);
    run.offload = place_on_card(arguments.model.device, plan, run.executor, speeds);
  }
  if (arguments.json) return print_out(plan_json(plan, run).dump(1) + "\n");
  print_out(
      plan_text(plan, run, console.verbose) +
      "\ntokens per second: --machine NAME predicts them, also for what dodeca-bench --write-machine measures here\n");
}

void write_plot(const PlanArguments& arguments, const std::vector<PredictedPlan>& plans) {
  if (arguments.plot.empty()) return;
  OutputFile file(arguments.plot);
  const std::string svg = prediction_plot(arguments.model_text(), plans);
  file.append(svg.data(), svg.size());
  file.finish();
}

void plan_there(const PlanArguments& arguments, const PlannedModel& model, const Console& console) {
  const std::vector<PredictedPlan> plans = {predict_plan(arguments, model, arguments.machine)};
  const PredictedPlan& p = plans.front();
  write_plot(arguments, plans);
  if (arguments.json) {
    Json json = plan_json(p.plan, p.run);
    append_key(json, "prediction", prediction_json(p));
    return print_out(json.dump(1) + "\n");
  }
  print_out(plan_text(p.plan, p.run, console.verbose) + prediction_text(p, console.verbose));
}

void simulate_there(const PlanArguments& arguments, const PlannedModel& model, const Console& console) {
  const Simulation simulation = simulate(arguments, model);
  if (!arguments.plot.empty()) {
    OutputFile file(arguments.plot);
    const std::string svg = simulation_plot(arguments.model_text(), simulation);
    file.append(svg.data(), svg.size());
    file.finish();
  }
  const PredictedPlan& p = simulation.predicted;
  if (arguments.json) {
    Json json = plan_json(p.plan, p.run);
    append_key(json, "simulation", simulation_json(simulation));
    return print_out(json.dump(1) + "\n");
  }
  print_out(plan_text(p.plan, p.run, false) + simulation_text(simulation, console.verbose));
}

void compare(const PlanArguments& arguments, const PlannedModel& model) {
  std::vector<PredictedPlan> plans;
  for (const std::string& machine : arguments.machines) plans.push_back(predict_plan(arguments, model, machine));
  write_plot(arguments, plans);
  if (!arguments.json) return print_out(comparison_text(arguments.model_text(), plans));
  Json json = Json::array();
  for (const PredictedPlan& plan : plans) json.push_back(prediction_json(plan));
  print_out(json.dump(1) + "\n");
}

}  // namespace

int cmd_plan(std::span<const std::string> args) {
  Console console;
  const PlanArguments arguments = parse_plan(args, console);
  if (arguments.backtest) {
    print_out(arguments.json ? backtest_json().dump(1) + "\n" : backtest_text());
  } else {
    const PlannedModel model = model_of(arguments, console);
    if (!arguments.machines.empty())
      compare(arguments, model);
    else if (arguments.simulate)
      simulate_there(arguments, model, console);
    else if (!arguments.machine.empty())
      plan_there(arguments, model, console);
    else
      plan_here(arguments, model, console);
  }
  flush_out();
  return 0;
}

}  // namespace dodeca::runtime::cli
