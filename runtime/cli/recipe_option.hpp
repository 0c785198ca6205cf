// A recipe's or a type's name on a command line, and the types that a published model gets by it.
#pragma once

#include <string>

#include "runtime/model/random_source.hpp"
#include "runtime/quantize/recipe.hpp"

namespace dodeca::runtime::cli {

// Throws Usage naming flag and what there is.
quantize::TypeChoice parse_recipe(const std::string& flag, const std::string& name);
// Of every weight of a model; what is published as MXFP4 stays so where the recipe has as many bits.
TypeOf types_of(const quantize::TypeChoice& recipe, const ModelConfig& config);

}  // namespace dodeca::runtime::cli
