#include "bench/shapes.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "runtime/cli/options.hpp"

namespace dodeca::bench {
namespace {

using runtime::ModelConfig;
using runtime::cli::Usage;

// What all models of this class share: the DeepSeek-V3 configuration file.
ModelConfig common() {
  ModelConfig c;
  c.architecture = "deepseek2";
  c.context_length = 163840;
  c.kv_lora_rank = 512;
  c.qk_nope_head_dim = 128;
  c.qk_rope_head_dim = 64;
  c.v_head_dim = 128;
  c.rope.dim = 64;
  c.rope.yarn = true;
  c.rope.factor = 40;
  c.rope.original_context = 4096;
  c.rope.mscale_all_dim = 1;
  return c;
}

void set_layers(ModelConfig& c, std::int64_t n_dense, std::int64_t n_moe) {
  c.n_layers = n_dense + n_moe;
  c.layers.assign(static_cast<std::size_t>(c.n_layers), {runtime::AttentionKind::kMla, runtime::FfnKind::kMoe});
  std::fill_n(c.layers.begin(), n_dense, runtime::LayerConfig{});
}

ModelConfig deepseek_v3() {
  ModelConfig c = common();
  c.name = "deepseek-v3";
  c.vocab_size = 129280;
  c.hidden_size = 7168;
  set_layers(c, 3, 58);
  c.n_heads = 128;
  c.q_lora_rank = 1536;
  c.intermediate_size = 18432;
  c.moe_intermediate_size = 2048;
  c.n_routed_experts = 256;
  c.n_experts_per_tok = 8;
  c.n_shared_experts = 1;
  c.n_group = 8;
  c.topk_group = 4;
  c.gating = runtime::GatingKind::kSigmoid;
  c.norm_topk_prob = true;
  c.routed_scaling_factor = 2.5;
  return c;
}

ModelConfig deepseek_v2_lite() {
  ModelConfig c = common();
  c.name = "deepseek-v2-lite";
  c.vocab_size = 102400;
  c.hidden_size = 2048;
  set_layers(c, 1, 26);
  c.n_heads = 16;
  c.rope.mscale_all_dim = 0.707;
  c.intermediate_size = 10944;
  c.moe_intermediate_size = 1408;
  c.n_routed_experts = 64;
  c.n_experts_per_tok = 6;
  c.n_shared_experts = 2;
  c.group_score = runtime::GroupScoreKind::kMax;
  return c;
}

ModelConfig kimi_k2() {
  ModelConfig c = deepseek_v3();
  c.name = "kimi-k2";
  c.context_length = 131072;
  c.vocab_size = 163840;
  set_layers(c, 1, 60);
  c.n_heads = 64;
  c.n_routed_experts = 384;
  c.n_group = c.topk_group = 1;
  c.routed_scaling_factor = 2.827;
  c.rope.base = 50000;
  c.rope.factor = 32;
  c.rope.beta_fast = 1;
  return c;
}

struct Shape {
  std::string_view name;
  ModelConfig (*make)();
};
constexpr Shape kShapes[] = {
    {"deepseek-v3", deepseek_v3}, {"deepseek-v2-lite", deepseek_v2_lite}, {"kimi-k2", kimi_k2}};

// "blk.12.attn_q.weight" -> 12, -1 outside the layers.
std::int64_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  std::int64_t layer = -1;
  if (name.starts_with(kPrefix)) std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

}  // namespace

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

ModelConfig shape_config(std::string_view name, std::int64_t n_experts) {
  const auto* shape =
      std::find_if(std::begin(kShapes), std::end(kShapes), [&](const Shape& s) { return s.name == name; });
  ModelConfig c = shape->make();
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
  set_layers(c, n_dense, n_moe);
  return c;
}

ModelConfig slice_config(const ModelConfig& whole, std::int64_t n_layers) {
  if (n_layers == 0 || n_layers == whole.n_layers) return whole;
  if (n_layers < 2 || n_layers > whole.n_layers)
    throw Usage(
        fmt::format("--layers must be between 2 (a dense and a MoE layer) and {}, not {}", whole.n_layers, n_layers));
  const std::int64_t n_moe = std::min(n_layers - 1, whole.n_layers - n_dense_layers(whole));
  return with_layers(whole, n_layers - n_moe, n_moe);
}

runtime::TypeChoice parse_recipe(const std::string& flag, const std::string& name) {
  runtime::TypeChoice choice;
  choice.recipe = runtime::find_recipe(name);
  if (choice.recipe != nullptr) return choice;
  const quant::TypeInfo* type = quant::find_type(std::string_view(name));
  if (type == nullptr || !type->decodable) {
    std::string known;
    for (const runtime::Recipe* recipe : runtime::all_recipes()) known += fmt::format("{}, ", recipe->name);
    throw Usage(fmt::format("{} must be {}or a type that can be computed with (Q2_K, IQ4_XS, BF16, ...), not '{}'",
                            flag, known, name));
  }
  choice.uniform = type->dtype;
  return choice;
}

runtime::TypeOf types_of(const runtime::TypeChoice& recipe, const ModelConfig& whole, const ModelConfig& part) {
  const std::int64_t whole_dense = n_dense_layers(whole), whole_moe = whole.n_layers - whole_dense;
  const std::int64_t part_dense = n_dense_layers(part), part_moe = part.n_layers - part_dense;
  return [=, n_layers = whole.n_layers](const runtime::WantedWeight& weight) {
    std::int64_t layer = layer_of(weight.name);
    if (layer >= part_dense)
      layer = whole_dense + (layer - part_dense) * whole_moe / part_moe;
    else if (layer >= 0)
      layer = layer % whole_dense;
    const std::int64_t rank = weight.slicing == runtime::Slicing::kNone ? 2 : 3;
    return runtime::fitting_type(
        runtime::choose_type(recipe, {.name = weight.name, .layer = layer, .n_layers = n_layers}, rank), weight.n_in);
  };
}

std::int64_t most_layers(const ModelConfig& whole, const runtime::TypeChoice& recipe,
                         const runtime::PlanOptions& options, std::uint64_t bytes) {
  std::int64_t most = 0;
  for (std::int64_t n = 2; n <= whole.n_layers; ++n) {
    const ModelConfig part = slice_config(whole, n);
    const auto infos = runtime::random_weight_infos(part, types_of(recipe, whole, part));
    if (runtime::make_plan(part, infos, options).bytes > bytes) break;
    most = n;
  }
  return most;
}

}  // namespace dodeca::bench
