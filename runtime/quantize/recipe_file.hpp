// A recipe in a file, made by an allocation and edited by people:
//
//   { "recipe": "V3 in 230 GiB", "default": "Q4_K",
//     "tensors": { "blk.3.ffn_down_exps.weight": "Q3_K", ... },
//     "rules": [ { "match": "_exps", "type": "Q2_K" }, ... ] }
//
// A tensor gets the type under its name, else that of the first rule whose regular expression its name contains, else
// the default. Only "default" is required. Names and rules of which a model has no tensor are told when the recipe is
// used (plan_quantization).
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.hpp"
#include "runtime/quantize/type_override.hpp"

namespace dodeca::runtime::quantize {

struct FileRecipe {
  std::string name;
  quant::DType default_type = quant::DType::kQ4_K;
  std::map<std::string, quant::DType, std::less<>> tensors;
  std::vector<TypeOverride> rules;

  // Error{kBadRequest} naming a rule whose expression takes too long.
  quant::DType type_of(std::string_view tensor) const;
};

// Error{kBadFile} naming the file and the entry: not JSON, unknown keys or types, types that cannot be written, bad
// regular expressions.
FileRecipe read_recipe(const std::filesystem::path& path);
FileRecipe parse_recipe(std::string_view text, std::string_view what);
std::string recipe_text(const FileRecipe& recipe);
void write_recipe(const FileRecipe& recipe, const std::filesystem::path& path);

}  // namespace dodeca::runtime::quantize
