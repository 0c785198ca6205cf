#include "bench/shape_run.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <utility>

#include "bench/membw.hpp"
#include "bench/statistics.hpp"

namespace dodeca::bench {
namespace {

constexpr std::int64_t kMaxProbeLayers = 16;
constexpr std::int64_t kMaxProbeRepetitions = 3;

LayerCounts counts_of(const runtime::ModelConfig& config) {
  const std::int64_t dense = n_dense_layers(config);
  return {dense, config.n_layers - dense};
}

}  // namespace

ShapeRun::ShapeRun(const ShapeRequest& request, const runtime::cli::ModelOptions& model, const RunOptions& run,
                   const runtime::cli::Console& console)
    : model_(model),
      run_(run),
      console_(console),
      recipe_(parse_recipe("--recipe", request.recipe)),
      whole_(shape_config(request.shape, request.n_experts, model.dense_attention)),
      slice_(slice_config(whole_, request.n_layers)),
      plan_options_({.isa = model.isa_level(), .compute_f32 = model.compute_f32(), .onednn = model.onednn}) {
  name_ = fmt::format("{} {}", whole_.name,
                      recipe_.recipe != nullptr ? recipe_.recipe->name : quant::name_of(*recipe_.uniform));
  if (partial()) name_ += fmt::format(", {} of {} layers", slice_.n_layers, whole_.n_layers);
}

runtime::Plan ShapeRun::plan_of(const runtime::ModelConfig& part) const {
  return runtime::make_plan(part, runtime::random_weight_infos(part, types_of(recipe_, whole_, part)), {},
                            runtime::this_machine(), plan_options_);
}

runtime::predict::TokenWork ShapeRun::work_of(const runtime::ModelConfig& part) const {
  return runtime::predict::token_work(plan_of(part));
}

std::string ShapeRun::too_large(std::uint64_t extra_bytes) const {
  using runtime::cli::bytes_text;
  const std::uint64_t free = cpu::available_memory_bytes();
  const std::int64_t most =
      most_layers(whole_, recipe_, plan_options_, free > extra_bytes ? free - extra_bytes : std::uint64_t{0});
  return fmt::format("{} needs {} of memory (weights {}, cache and work space {}), {} are free; {}", name_,
                     bytes_text(static_cast<double>(plan_of(slice_).bytes + extra_bytes)),
                     bytes_text(static_cast<double>(plan_of(slice_).bytes)),
                     bytes_text(static_cast<double>(extra_bytes)), bytes_text(static_cast<double>(free)),
                     most > 0 ? fmt::format("--layers {} fits, and results are extrapolated to the whole model", most)
                              : "fewer --experts, a smaller -ub or -d would help");
}

Opener ShapeRun::opener() const {
  return [this](const std::string&) {
    return OpenedModel{.source = runtime::random_weights(slice_, types_of(recipe_, whole_, slice_), run_.seed),
                       .type_text = name_,
                       .too_large = [this](std::uint64_t extra_bytes) { return too_large(extra_bytes); }};
  };
}

// As many as the whole model has, but more than caches hold: what a token reads must come from memory, as it does
// between MoE layers.
std::int64_t ShapeRun::probe_layers() const {
  const std::int64_t n = n_dense_layers(whole_);
  const double one =
      plan_of(with_layers(whole_, 2, 0)).bytes_per_token - plan_of(with_layers(whole_, 1, 0)).bytes_per_token;
  const double caches = static_cast<double>(last_level_cache_bytes(cpu::read_topology()));
  return std::clamp(static_cast<std::int64_t>(2 * caches / one) + 1, n, std::max(n, kMaxProbeLayers));
}

void ShapeRun::probe(const std::vector<Test>& tests, const std::function<void(std::string_view)>& say) {
  // Without layers of both kinds only the output is measured apart.
  const LayerCounts whole = counts_of(whole_);
  const bool both = whole.dense > 0 && whole.moe > 0;
  const std::int64_t n_layers = both ? probe_layers() : 1;
  const runtime::ModelConfig dense = whole.dense > 0 ? with_layers(whole_, n_layers, 0) : with_layers(whole_, 0, 1);
  const Opener open = [&](const std::string&) {
    return OpenedModel{.source = runtime::random_weights(dense, types_of(recipe_, whole_, dense), run_.seed),
                       .type_text = name_};
  };
  RunOptions options = run_;
  options.repetitions = std::min(options.repetitions, kMaxProbeRepetitions);
  options.measure_limits = options.logits = options.trace = false;
  options.accepted = -1;
  options.delay_seconds = 0;
  Throughput throughput(model_, options, open, console_, [&](std::string_view line) {
    say(both ? fmt::format("{} dense layers alone: {}", n_layers, line) : fmt::format("one layer alone: {}", line));
  });
  std::map<std::pair<int, std::int64_t>, double> output_ns;  // by threads and rows
  for (const Test& test : tests) {
    auto [output, fresh] = output_ns.try_emplace({test.n_threads, test.n_parallel});
    if (fresh) output->second = throughput.output_ns(test, test.n_parallel);
    Parts parts;
    parts.output_ns = output->second * static_cast<double>(n_outputs(test.n_prompt, test.n_batch, test.n_gen));
    if (both) {
      const Result result = throughput.run(test);
      parts.dense_ns = median({result.samples_ns.begin(), result.samples_ns.end()}) / static_cast<double>(n_layers);
    }
    parts_.push_back(parts);
  }
}

void ShapeRun::complete(std::size_t index, Result& result) const {
  const Parts& parts = parts_[index];
  Extrapolation e = extrapolate(median({result.samples_ns.begin(), result.samples_ns.end()}), parts.output_ns,
                                parts.dense_ns, counts_of(slice_), counts_of(whole_));
  if (result.bytes_per_token > 0) {
    const auto weights = [&](const runtime::ModelConfig& part) {
      return work_of(part).step_bytes(result.experts_touched) / static_cast<double>(result.test.n_parallel);
    };
    const double cache = result.bytes_per_token - weights(slice_);
    e.bytes_per_token =
        weights(whole_) + cache * static_cast<double>(whole_.n_layers) / static_cast<double>(slice_.n_layers);
  }
  result.whole = e;
}

}  // namespace dodeca::bench
