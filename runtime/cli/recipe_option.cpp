#include "runtime/cli/recipe_option.hpp"

#include <fmt/core.h>

#include "runtime/cli/options.hpp"

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

TypeOf types_of(const TypeChoice& recipe, std::int64_t n_layers) {
  return [=](const WantedWeight& weight) {
    return quantize::fitting_type(
        quantize::choose_type(recipe, {.name = weight.name, .id = weight.id, .n_layers = n_layers}, weight.rank()),
        weight.n_in);
  };
}

}  // namespace dodeca::runtime::cli
