#include "runtime/cli/plan_prediction.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "runtime/cli/recipe_option.hpp"
#include "runtime/device/stream_speeds.hpp"
#include "runtime/engine/engine.hpp"
#include "runtime/model/random_source.hpp"
#include "runtime/model/shapes.hpp"
#include "runtime/predict/card_prompt.hpp"
#include "runtime/predict/catalogue.hpp"
#include "runtime/quantize/recipe.hpp"

namespace dodeca::runtime::cli {
namespace {

std::string memory_text(std::uint64_t bytes) { return bytes_text(static_cast<double>(bytes)); }

Plan plan_for(const PlanArguments& arguments, const PlannedModel& model, const predict::MachineSpec& spec,
              int n_parts) {
  PlanOptions options{.isa = spec.isa, .compute_f32 = arguments.model.compute_f32()};
  options.mtp = model.drafts;
  options.shares = equal_shares(n_parts);
  return make_plan(model.config, model.weights, model.mtp_weights, spec.machine(), options);
}

// One for each memory node, where each has a member. A card takes no block that is cut into parts.
int parts_for(const PlanArguments& arguments, const predict::MachineSpec& spec) {
  const int n_nodes = spec.n_nodes(), n_cores = spec.n_cores();
  const auto members = [&](int asked) { return asked > 0 ? asked : n_cores; };
  const int fewest = std::min(members(arguments.model.threads), members(arguments.model.threads_batch));
  return arguments.model.numa.request().mode == NumaRequest::Mode::kAuto && arguments.gpu.empty() && fewest >= n_nodes
             ? n_nodes
             : 1;
}

predict::Otherwise otherwise(const Plan& plan, const predict::MachineSpec& spec, predict::PredictionRequest request) {
  request.depths = {request.depths.front()};
  const predict::Prediction p = predict::predict(plan, spec, std::nullopt, request);
  return {p.points.front().tokens_per_s, p.points.front().prompt_per_s};
}

// What parts gain, over one part on the same machine and over one socket of it.
void add_otherwise(const PlanArguments& arguments, const PlannedModel& model, predict::PredictionRequest request,
                   predict::Prediction& p) {
  const predict::MachineSpec& spec = p.machine;
  if (p.card) return;
  // Teams were measured reading what lies on their own nodes.
  if (p.n_parts > 1 && spec.teams.empty())
    p.interleaved = otherwise(plan_for(arguments, model, spec, 1), spec, request);
  // What was measured on several sockets says nothing about one.
  if (spec.sockets.value < 2 || spec.read_gb_s.known() || !spec.teams.empty()) return;
  predict::MachineSpec one = spec;
  one.sockets.value = 1;
  one.barrier_us = {};
  request.n_threads = request.n_prompt_threads = 0;
  const int n_parts = p.n_parts > 1 ? one.n_nodes() : 1;
  p.one_socket = otherwise(plan_for(arguments, model, one, n_parts), one, request);
}

// Other recipes of a shape whose weights leave room for the rest, the largest first.
std::vector<std::string> smaller_recipes(const PlanArguments& arguments, const PlannedModel& model, const Plan& plan,
                                         std::uint64_t room) {
  std::vector<std::pair<std::uint64_t, std::string>> fitting;
  for (const quantize::Recipe* recipe : quantize::all_recipes()) {
    if (arguments.shape.empty()) break;
    const quantize::TypeChoice choice = parse_recipe("--recipe", std::string(recipe->name));
    const auto infos = random_weight_infos(model.config, types_of(choice, model.config));
    const std::uint64_t bytes = make_plan(model.config, infos, {}, plan.machine, plan.options).bytes;
    if (bytes <= room) fitting.emplace_back(bytes, recipe->name);
  }
  std::ranges::sort(fitting, std::greater());
  std::vector<std::string> names;
  for (const auto& [bytes, name] : fitting) {
    if (names.size() < 3) names.push_back(fmt::format("{} ({})", name, memory_text(bytes)));
  }
  return names;
}

void judge_fit(const PlanArguments& arguments, const PlannedModel& model, PredictedPlan& p) {
  const std::uint64_t usable = p.plan.machine.available_bytes;
  if (usable == ~std::uint64_t{0}) return;
  const std::uint64_t cache = p.run.cache_bytes(p.plan), work = p.run.work_bytes(p.plan),
                      need = p.plan.bytes + cache + work;
  // Where there is room, each memory node has a copy of the cache.
  const auto n_copies = static_cast<std::uint64_t>(p.prediction.n_parts);
  const bool copies = n_copies > 1 && need + (n_copies - 1) * cache <= usable;
  p.fits = need <= usable;
  p.fit = p.fits ? fmt::format("fits: {} needed{}, {} usable", memory_text(need + (copies ? n_copies - 1 : 0) * cache),
                               copies         ? fmt::format(" (with a copy of the cache on each of {} nodes)", n_copies)
                               : n_copies > 1 ? " (one copy of the cache, interleaved over the nodes)"
                                              : "",
                               memory_text(usable))
                 : fmt::format("does not fit by {}: {} needed (weights {}, cache {}, work space {}), {} usable",
                               memory_text(need - usable), memory_text(need), memory_text(p.plan.bytes),
                               memory_text(cache), memory_text(work), memory_text(usable));
  if (p.fits) return;
  if (const std::uint64_t rest = p.plan.bytes + work; rest < usable) {
    const auto positions =
        static_cast<std::int64_t>(static_cast<double>(usable - rest) /
                                  (static_cast<double>(cache) / static_cast<double>(p.run.executor.n_positions)));
    const std::int64_t each = positions / std::max<std::int64_t>(1, arguments.parallel) / 64 * 64;
    if (each > 0) p.advice.push_back(fmt::format("-c {} fits", each));
    if (p.run.executor.cache_type == quant::DType::kF16 || p.run.executor.cache_type == quant::DType::kBF16)
      p.advice.emplace_back("-ctk q8_0 halves the cache");
  }
  if (work > usable / 100) p.advice.emplace_back("-ub 512 takes a quarter of the work space and makes prompts slower");
  const std::vector<std::string> recipes =
      smaller_recipes(arguments, model, p.plan, usable > cache + work ? usable - cache - work : 0);
  for (const std::string& recipe : recipes) p.advice.push_back(fmt::format("--recipe {} fits", recipe));
  if (!arguments.gpu.empty()) return;
  p.advice.push_back(fmt::format("{} more memory would hold it", memory_text(need - usable)));
}

bool wants_drafts(const PlanArguments& arguments, const WeightSource& source, const Console& console) {
  const std::string& here = arguments.model.device.gpu;
  const bool card = !arguments.gpu.empty() || (!here.empty() && here != "none");
  return arguments.model.drafts.wants_layer(source, card ? "a card takes blocks" : "", console);
}

}  // namespace

PlannedModel model_of(const PlanArguments& arguments, const Console& console) {
  if (!arguments.shape.empty()) {
    ModelConfig config = published_shape(arguments.shape);
    if (arguments.model.dense_attention) config.indexer = {};
    const TypeOf type_of = types_of(parse_recipe("--recipe", arguments.recipe), config);
    const std::unique_ptr<WeightSource> source = random_weights(config, type_of, 1);
    return {config, source->weights(), source->mtp_weights(), wants_drafts(arguments, *source, console)};
  }
  const std::unique_ptr<WeightSource> source = arguments.model.open(console.log());
  return {source->config(), source->weights(), source->mtp_weights(), wants_drafts(arguments, *source, console)};
}

PlannedRun run_of(const PlanArguments& arguments, const Plan& plan, int n_cores) {
  const auto threads = [&](std::int32_t asked, int otherwise) { return asked > 0 ? asked : otherwise; };
  const int generation = threads(arguments.model.threads, n_cores);
  PlannedRun run{.executor = arguments.model.session_options(plan.config).executor,
                 .n_threads = std::max(generation, threads(arguments.model.threads_batch, generation)),
                 .context = engine::context_for(plan.config, arguments.model.ctx_size)};
  const auto n_parallel = static_cast<std::int32_t>(arguments.parallel);
  run.executor.n_sequences = engine::Engine::sequences_for(n_parallel);
  run.executor.n_positions = engine::positions_for(run.context, n_parallel);
  run.executor.integer_attention = !plan.options.compute_f32;
  return run;
}

namespace {

// As --stream-experts says: those of a file, or what the machine and the card are expected to have.
std::optional<device::StreamSpeeds> stream_speeds_of(const PlanArguments& arguments, const Plan& plan,
                                                     const predict::MachineSpec& machine,
                                                     const predict::CardSpec& card) {
  const std::string& mode = arguments.model.device.stream_experts;
  if (mode == "off") return std::nullopt;
  if (!mode.empty() && mode != "auto") return device::read_stream_speeds(mode).speeds;
  const int asked = arguments.model.threads_batch, n_threads = asked > 0 ? asked : arguments.model.threads;
  return predict::stream_speeds(plan, machine, card, n_threads > 0 ? n_threads : machine.n_cores());
}

}  // namespace

PredictedPlan predict_plan(const PlanArguments& arguments, const PlannedModel& model, const std::string& machine) {
  const predict::MachineSpec spec = predict::find_machine(machine);
  if (const int most = std::max(arguments.model.threads, arguments.model.threads_batch); most > spec.n_cores())
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} threads are asked for, {} has {} cores", most, spec.title, spec.n_cores()));
  Plan plan = plan_for(arguments, model, spec, parts_for(arguments, spec));
  PredictedPlan p{.plan = plan, .run = run_of(arguments, plan, spec.n_cores()), .prediction = {}};
  const predict::PredictionRequest request{.n_threads = std::max(0, arguments.model.threads),
                                           .n_prompt_threads = std::max(0, arguments.model.threads_batch),
                                           .n_parallel = arguments.parallel,
                                           .micro_batch = p.run.executor.micro_batch,
                                           .context = model.config.context_length,
                                           .cache_type = p.run.executor.cache_type,
                                           .value_cache_type = p.run.executor.value_cache_type,
                                           .hot = arguments.hot,
                                           .n_drafts = model.drafts ? arguments.model.drafts.n() : 0,
                                           .accepted = arguments.accepted < 0 ? 0.85 : arguments.accepted};
  std::optional<predict::CardSpec> card;
  std::optional<predict::CardPlan> on_card;
  if (!arguments.gpu.empty()) {
    card = predict::find_card(arguments.gpu);
    Machine::Device device = card->device();
    if (!arguments.model.device.vram.empty())
      device.free_bytes = std::min(device.free_bytes, parse_bytes("--vram", arguments.model.device.vram));
    p.plan.machine.devices.push_back(device);
    p.run.offload =
        place_on_card(arguments.model.device, p.plan, p.run.executor, stream_speeds_of(arguments, p.plan, spec, *card));
    on_card.emplace(predict::CardPlan{*card, p.plan, *p.run.offload});
  }
  p.prediction = predict::predict(plan, spec, on_card, request);
  add_otherwise(arguments, model, request, p.prediction);
  judge_fit(arguments, model, p);
  return p;
}

Plan plan_on_processors(const PlanArguments& arguments, const PlannedModel& model, const std::string& machine) {
  const predict::MachineSpec spec = predict::find_machine(machine);
  return plan_for(arguments, model, spec, parts_for(arguments, spec));
}

PlanArguments shape_arguments(const std::string& shape, const std::string& recipe, const std::string& machine,
                              const ShapeOptions& options) {
  PlanArguments arguments;
  arguments.shape = arguments.model.model = shape;
  arguments.recipe = recipe;
  arguments.machine = machine;
  arguments.gpu = options.card;
  arguments.model.numa.numa = options.numa;
  arguments.model.cache_type_k = "q8_0";
  return arguments;
}

PredictedPlan predict_shape(const std::string& shape, const std::string& recipe, const std::string& machine,
                            const ShapeOptions& options) {
  const PlanArguments arguments = shape_arguments(shape, recipe, machine, options);
  return predict_plan(arguments, model_of(arguments, Console()), machine);
}

}  // namespace dodeca::runtime::cli
