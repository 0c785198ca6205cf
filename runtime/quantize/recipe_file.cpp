#include "runtime/quantize/recipe_file.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/file.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/load/json_fields.hpp"

namespace dodeca::runtime::quantize {
namespace {

constexpr std::uint64_t kMaxRecipeBytes = std::uint64_t{16} << 20;
constexpr std::size_t kMaxRules = 1024;  // each is searched in each tensor's name

class RecipeReader {
 public:
  explicit RecipeReader(std::string_view what) : fields_(what, "is no recipe") {}

  FileRecipe read(const Json& json) const {
    fields_.check_root(json);
    fields_.check_keys(json, {"recipe", "default", "tensors", "rules"});
    FileRecipe recipe;
    bool has_default = false;
    for (const auto& [key, value] : json.items()) {
      if (key == "recipe") {
        recipe.name = fields_.text(value, key);
      } else if (key == "default") {
        recipe.default_type = type(value, key);
        has_default = true;
      } else if (key == "tensors") {
        for (const auto& [name, tensor_type] : fields_.object(value, key).items())
          recipe.tensors.emplace(name, type(tensor_type, name));
      } else {
        if (!value.is_array()) throw fields_.bad("\"rules\" is no array");
        if (value.size() > kMaxRules)
          throw fields_.bad(fmt::format("there are {} rules; at most {} are read", value.size(), kMaxRules));
        for (const Json& rule : value) recipe.rules.push_back(read_rule(rule));
      }
    }
    if (!has_default) throw fields_.bad("\"default\", the type of what it does not name, is missing");
    return recipe;
  }

 private:
  quant::DType type(const Json& value, const std::string& key) const {
    const std::string name = fields_.text(value, key), where = printable(key, 64);
    const quant::TypeInfo* found = quant::find_type(name);
    if (found == nullptr)
      throw fields_.bad(fmt::format("no type is called '{}', as \"{}\" says", printable(name, 64), where));
    if (!is_writable(found->dtype)) throw fields_.bad(fmt::format("{} cannot be written, as \"{}\" says", name, where));
    return found->dtype;
  }
  TypeOverride read_rule(const Json& rule) const {
    if (!rule.is_object() || rule.size() != 2 || !rule.contains("match") || !rule.contains("type"))
      throw fields_.bad("a rule is not {\"match\": REGEX, \"type\": TYPE}");
    try {
      return make_override(fields_.text(rule["match"], "match"), fields_.text(rule["type"], "type"));
    } catch (const Error& error) {
      throw fields_.bad(error.sentence());
    }
  }

  JsonFields fields_;
};

}  // namespace

quant::DType FileRecipe::type_of(std::string_view tensor) const {
  if (const auto found = tensors.find(tensor); found != tensors.end()) return found->second;
  const auto rule = std::ranges::find_if(rules, [&](const TypeOverride& r) { return r.regex.found_in(tensor); });
  return rule != rules.end() ? rule->dtype : default_type;
}

FileRecipe parse_recipe(std::string_view text, std::string_view what) {
  return RecipeReader(what).read(parse_json(text, what));
}

FileRecipe read_recipe(const std::filesystem::path& path) {
  return RecipeReader(path.string()).read(read_json(path, kMaxRecipeBytes));
}

std::string recipe_text(const FileRecipe& recipe) {
  Json json = {{"recipe", recipe.name}, {"default", quant::name_of(recipe.default_type)}, {"tensors", Json::object()}};
  for (const auto& [name, dtype] : recipe.tensors) append_key(json["tensors"], name, quant::name_of(dtype));
  if (!recipe.rules.empty()) {
    Json& rules = append_key(json, "rules", Json::array());
    for (const TypeOverride& rule : recipe.rules)
      rules.push_back({{"match", rule.regex.pattern()}, {"type", quant::name_of(rule.dtype)}});
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_recipe(const FileRecipe& recipe, const std::filesystem::path& path) {
  const std::string text = recipe_text(recipe);
  OutputFile file(path);
  file.append(std::as_bytes(std::span(text)));
  file.finish();
}

}  // namespace dodeca::runtime::quantize
