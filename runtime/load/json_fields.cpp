#include "runtime/load/json_fields.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/printable.hpp"

namespace dodeca::runtime {
namespace {

std::string shown(std::string_view name) { return printable(name, 64); }

}  // namespace

Error JsonFields::bad(std::string_view why) const {
  return Error(ErrorKind::kBadFile, fmt::format("{} {}: {}", file_, verdict_, why));
}

void JsonFields::check_root(const Json& root) const {
  if (!root.is_object()) throw bad("it is no JSON object");
}

const Json& JsonFields::object(const Json& value, std::string_view name) const {
  if (!value.is_object()) throw bad(fmt::format("\"{}\" is no object", shown(name)));
  return value;
}

std::string JsonFields::text(const Json& value, std::string_view name) const {
  if (!value.is_string()) throw bad(fmt::format("\"{}\" is no string", shown(name)));
  return value.get<std::string>();
}

std::int64_t JsonFields::integer(const Json& value, std::string_view name) const {
  if (!value.is_number_integer()) throw bad(fmt::format("\"{}\" is no integer", shown(name)));
  return value.get<std::int64_t>();
}

const Json& JsonFields::member(const Json& object, std::string_view key) const {
  const auto found = object.find(key);
  if (found == object.end()) throw bad(fmt::format("\"{}\" is missing", key));
  return *found;
}

void JsonFields::check_keys(const Json& object, std::initializer_list<std::string_view> known) const {
  for (const auto& [key, value] : object.items()) {
    if (std::ranges::find(known, key) != known.end()) continue;
    std::string names;
    for (const std::string_view name : known) names += (names.empty() ? "" : ", ") + std::string(name);
    throw bad(fmt::format("it has the unknown key \"{}\" (known: {})", shown(key), names));
  }
}

}  // namespace dodeca::runtime
