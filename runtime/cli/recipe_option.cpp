#include "runtime/cli/recipe_option.hpp"

#include <fmt/core.h>

#include "runtime/cli/options.hpp"
#include "runtime/model/shapes.hpp"

namespace dodeca::runtime::cli {

using quantize::TypeChoice;

TypeChoice parse_recipe(const std::string& flag, const std::string& name) {
  TypeChoice choice;
  choice.recipe = quantize::find_recipe(name);
  if (choice.recipe != nullptr) return choice;
  const quant::TypeInfo* type = quant::find_type(std::string_view(name));
  if (type == nullptr || !type->decodable) {
    std::string known;
    for (const quantize::Recipe* recipe : quantize::all_recipes()) known += fmt::format("{}, ", recipe->name);
    throw Usage(fmt::format("{} must be {}or a type that can be computed with (Q2_K, IQ4_XS, BF16, ...), not '{}'",
                            flag, known, name));
  }
  choice.uniform = type->dtype;
  return choice;
}

TypeOf types_of(const TypeChoice& recipe, const ModelConfig& config) {
  return [recipe, config](const WantedWeight& weight) {
    const quantize::WeightName name{.name = weight.name,
                                    .id = weight.id,
                                    .n_layers = config.n_layers,
                                    .source = published_type(config, weight.id.role),
                                    .n_experts = config.n_routed_experts};
    const quant::DType fitting =
        quantize::fitting_type(quantize::choose_type(recipe, name, weight.rank()), weight.n_in);
    return quantize::kept_type(recipe, name, fitting);
  };
}

}  // namespace dodeca::runtime::cli
