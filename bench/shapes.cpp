#include "bench/shapes.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "runtime/cli/options.hpp"
#include "runtime/model/shapes.hpp"
#include "runtime/model/weight_name.hpp"

namespace dodeca::bench {

using runtime::ModelConfig;
using runtime::cli::Usage;
using runtime::quantize::TypeChoice;

namespace {

// Layers after which windows repeat: a slice has whole periods, so that it stands for all.
std::int64_t window_period(const ModelConfig& whole) {
  std::int64_t period = 1;
  const auto repeats = [&] {
    for (std::int64_t i = period; i < whole.n_layers; ++i)
      if (whole.layers[i].window != whole.layers[i - period].window) return false;
    return true;
  };
  while (period < whole.n_layers && !repeats()) ++period;
  return period;
}

}  // namespace

ModelConfig shape_config(std::string_view name, std::int64_t n_experts, bool dense_attention) {
  ModelConfig c = runtime::published_shape(name);
  if (dense_attention) c.indexer = {};
  if (n_experts > 0 && c.n_routed_experts == 0) throw Usage(fmt::format("--experts: {} has none", name));
  if (n_experts > 0) {
    const std::int64_t least = c.n_experts_per_tok * c.n_group / c.topk_group;
    if (n_experts < least || n_experts > c.n_routed_experts || n_experts % c.n_group != 0)
      throw Usage(fmt::format("--experts must be between {} and {}{} for {}, not {}", least, c.n_routed_experts,
                              c.n_group > 1 ? fmt::format(" and a multiple of its {} groups", c.n_group) : "", name,
                              n_experts));
    if (n_experts < c.n_routed_experts) c.name += fmt::format(" ({} experts)", n_experts);
    c.n_routed_experts = n_experts;
  }
  runtime::validate(c);
  return c;
}

std::int64_t n_dense_layers(const ModelConfig& config) {
  return std::count_if(config.layers.begin(), config.layers.end(),
                       [](const runtime::LayerConfig& layer) { return layer.ffn == runtime::FfnKind::kDense; });
}

ModelConfig with_layers(const ModelConfig& whole, std::int64_t n_dense, std::int64_t n_moe) {
  ModelConfig c = whole;
  runtime::set_layers(c, n_dense, n_moe);
  // The same share of the layers choose positions, the first one always.
  const std::int64_t n_choosing =
      std::ranges::count_if(whole.layers, [](const runtime::LayerConfig& layer) { return layer.has_indexer; });
  for (std::int64_t layer = 1; layer < c.n_layers; ++layer)
    c.layers[layer].has_indexer = layer * n_choosing / whole.n_layers > (layer - 1) * n_choosing / whole.n_layers;
  if (n_moe == 0) c.n_mtp_layers = 0;  // a layer that drafts is built as the last one
  return c;
}

ModelConfig slice_config(const ModelConfig& whole, std::int64_t n_layers) {
  if (n_layers == 0 || n_layers == whole.n_layers) return whole;
  const std::int64_t n_dense = n_dense_layers(whole), n_kinds = n_dense > 0 && n_dense < whole.n_layers ? 2 : 1;
  if (n_layers < n_kinds || n_layers > whole.n_layers)
    throw Usage(fmt::format("--layers must be between {} and {}, not {}",
                            n_kinds == 2 ? "2 (a dense and a MoE layer)" : "1", whole.n_layers, n_layers));
  if (const std::int64_t period = window_period(whole); n_layers % period != 0)
    throw Usage(fmt::format("--layers must be a multiple of {}, in which {} repeats its windows, not {}", period,
                            whole.name, n_layers));
  const std::int64_t n_moe = std::min(n_layers - std::min<std::int64_t>(n_dense, 1), whole.n_layers - n_dense);
  return with_layers(whole, n_layers - n_moe, n_moe);
}

runtime::TypeOf types_of(const TypeChoice& recipe, const ModelConfig& whole, const ModelConfig& part) {
  const std::int64_t whole_dense = n_dense_layers(whole), whole_moe = whole.n_layers - whole_dense;
  const std::int64_t part_dense = n_dense_layers(part), part_moe = part.n_layers - part_dense;
  return [=, type = runtime::cli::types_of(recipe, whole)](runtime::WantedWeight weight) {
    std::int64_t& layer = weight.id.layer;
    if (layer >= part_dense)
      layer = whole_dense + (layer - part_dense) * whole_moe / part_moe;
    else if (layer >= 0)
      layer = layer % whole_dense;
    return type(weight);
  };
}

std::int64_t most_layers(const ModelConfig& whole, const TypeChoice& recipe, const runtime::PlanOptions& options,
                         std::uint64_t bytes) {
  std::int64_t most = 0;
  const std::int64_t n_dense = n_dense_layers(whole);
  const std::int64_t period = window_period(whole);
  for (std::int64_t n = n_dense > 0 && n_dense < whole.n_layers ? 2 : period; n <= whole.n_layers; n += period) {
    const ModelConfig part = slice_config(whole, n);
    const auto infos = runtime::random_weight_infos(part, types_of(recipe, whole, part));
    if (runtime::make_plan(part, infos, {}, runtime::this_machine(), options).bytes > bytes) break;
    most = n;
  }
  return most;
}

}  // namespace dodeca::bench
