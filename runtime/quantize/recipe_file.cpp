#include "runtime/quantize/recipe_file.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/file.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::uint64_t kMaxRecipeBytes = std::uint64_t{64} << 20;

class RecipeReader {
 public:
  explicit RecipeReader(std::string_view what) : what_(what) {}

  FileRecipe read(const Json& json) const {
    if (!json.is_object()) throw bad("it is no JSON object");
    FileRecipe recipe;
    bool has_default = false;
    for (const auto& [key, value] : json.items()) {
      if (key == "recipe") {
        recipe.name = text(value, key);
      } else if (key == "default") {
        recipe.default_type = type(value, key);
        has_default = true;
      } else if (key == "tensors") {
        if (!value.is_object()) throw bad("\"tensors\" is no object");
        for (const auto& [name, tensor_type] : value.items()) recipe.tensors.emplace(name, type(tensor_type, name));
      } else if (key == "rules") {
        if (!value.is_array()) throw bad("\"rules\" is no array");
        for (const Json& rule : value) recipe.rules.push_back(read_rule(rule));
      } else {
        throw bad("it has the unknown key \"" + key + "\" (known: recipe, default, tensors, rules)");
      }
    }
    if (!has_default) throw bad("\"default\", the type of what it does not name, is missing");
    return recipe;
  }

 private:
  Error bad(const std::string& why) const {
    return Error(ErrorKind::kBadFile, fmt::format("{} is no recipe: {}", what_, why));
  }
  std::string text(const Json& value, const std::string& key) const {
    if (!value.is_string()) throw bad("\"" + key + "\" is no string");
    return value.get<std::string>();
  }
  quant::DType type(const Json& value, const std::string& key) const {
    const std::string name = text(value, key);
    const quant::TypeInfo* found = quant::find_type(name);
    if (found == nullptr) throw bad("no type is called '" + name + "', as \"" + key + "\" says");
    if (!is_writable(found->dtype)) throw bad(name + " cannot be written, as \"" + key + "\" says");
    return found->dtype;
  }
  TypeOverride read_rule(const Json& rule) const {
    if (!rule.is_object() || rule.size() != 2 || !rule.contains("match") || !rule.contains("type"))
      throw bad("a rule is not {\"match\": REGEX, \"type\": TYPE}");
    try {
      return make_override(text(rule["match"], "match"), text(rule["type"], "type"));
    } catch (const Error& error) {
      throw bad(error.sentence());
    }
  }

  std::string_view what_;
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

}  // namespace dodeca::runtime
