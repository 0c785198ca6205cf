// Published models by their shapes alone (dodeca-bench --shape): configuration, types of the weights by a recipe of
// runtime/quantize, and which layers are held when not all are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cli/recipe_option.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/random_source.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/quantize/recipe.hpp"

namespace dodeca::bench {

using runtime::cli::parse_recipe;

// A published configuration (runtime/model/shapes.hpp). n_experts > 0: as many routed experts instead. Throws
// runtime::cli::Usage when the model cannot have so many.
runtime::ModelConfig shape_config(std::string_view name, std::int64_t n_experts = 0, bool dense_attention = false);

// The same model with fewer layers of each kind.
runtime::ModelConfig with_layers(const runtime::ModelConfig& whole, std::int64_t n_dense, std::int64_t n_moe);
// One dense layer, the rest MoE layers (as long as there are so many): what a slice of n layers holds; all layers when
// n is 0. Throws runtime::cli::Usage.
runtime::ModelConfig slice_config(const runtime::ModelConfig& whole, std::int64_t n_layers);
std::int64_t n_dense_layers(const runtime::ModelConfig& config);

// Types as in the whole model's file: a part's MoE layers stand for layers spread evenly over the whole model's.
runtime::TypeOf types_of(const runtime::quantize::TypeChoice& recipe, const runtime::ModelConfig& whole,
                         const runtime::ModelConfig& part);

// The most layers of `whole` whose weights take at most `bytes`; 0 when not even two do.
std::int64_t most_layers(const runtime::ModelConfig& whole, const runtime::quantize::TypeChoice& recipe,
                         const runtime::PlanOptions& options, std::uint64_t bytes);

}  // namespace dodeca::bench
