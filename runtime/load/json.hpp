// JSON files with limits: size capped before reading, nesting depth and number of values capped, duplicate keys
// refused, UTF-8 checked. Parsing is linear in the text, also for objects of 100,000 keys; finding a key in the result
// is linear in the object, so walk large objects instead of asking them key by key. Files that look inside a Json
// include <nlohmann/json.hpp> themselves: it takes a second to compile, and most only pass one on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {

using Json = nlohmann::ordered_json;

// What a document may have unless its reader says otherwise: enough for configurations of any model.
inline constexpr std::uint64_t kMaxJsonBytes = 16u << 20;
inline constexpr std::size_t kMaxJsonValues = 4u << 20;

// Throws Error{kBadFile} with file and position. The size is looked at before anything is read.
Json read_json(const std::filesystem::path& path, std::uint64_t max_bytes = kMaxJsonBytes,
               std::size_t max_values = kMaxJsonValues);
Json parse_json(std::string_view text, std::string_view what, std::size_t max_values = kMaxJsonValues);
// Replaces path when the whole text is written; bytes that are no UTF-8 are replaced.
void write_json(const Json& json, const std::filesystem::path& path);
// Appends a key that the object does not have yet, without searching for it; returns its value.
Json& append_key(Json& object, std::string key, Json value);

}  // namespace dodeca::runtime
