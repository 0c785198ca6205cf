// Typed access to the objects of a config.json, with errors that name the key.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "runtime/base/error.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime {

// Null counts as absent, as in transformers. The object must outlive it.
class HfFields {
 public:
  explicit HfFields(const Json& json) : json_(json) {}

  const Json* find(const char* key) const {
    const auto it = json_.find(key);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  std::optional<std::int64_t> maybe(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() && value->get<std::uint64_t>() > (std::uint64_t{1} << 62)))
      wrong(key, "an integer");
    return value->get<std::int64_t>();
  }
  std::int64_t integer_or(const char* key, std::int64_t fallback) const { return maybe(key).value_or(fallback); }
  std::int64_t integer(const char* key) const {
    need(key);
    return integer_or(key, 0);
  }
  double number(const char* key) const {
    need(key);
    return number_or(key, 0.0);
  }
  double number_or(const char* key, double fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number()) wrong(key, "a number");
    return value->get<double>();
  }
  bool boolean_or(const char* key, bool fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) wrong(key, "true or false");
    return value->get<bool>();
  }
  std::string string_or(const char* key, std::string fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) wrong(key, "a string");
    return value->get<std::string>();
  }
  const Json* object(const char* key) const {
    const Json* value = find(key);
    if (value != nullptr && !value->is_object()) wrong(key, "an object");
    return value;
  }

 private:
  void need(const char* key) const {
    if (find(key) == nullptr) throw Error(ErrorKind::kBadFile, fmt::format("config.json has no {}", key));
  }
  [[noreturn]] static void wrong(const char* key, const char* wanted) {
    throw Error(ErrorKind::kBadFile, fmt::format("config.json: {} is not {}", key, wanted));
  }
  const Json& json_;
};

}  // namespace dodeca::runtime
