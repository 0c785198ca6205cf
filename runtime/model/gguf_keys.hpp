// Typed access to the keys of one architecture ("qwen3moe.block_count"), with errors that name the key, and what the
// readers of several architectures have in common.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/model/config.hpp"
#include "runtime/model/tensor_facts.hpp"

namespace dodeca::runtime {

class GgufKeys {
 public:
  GgufKeys(const Metadata& metadata, std::string prefix) : metadata_(metadata), prefix_(std::move(prefix)) {}

  bool has(std::string_view key) const { return metadata_.find(prefix_ + std::string(key)) != nullptr; }
  std::optional<std::int64_t> maybe(std::string_view key) const {
    const std::string full = prefix_ + std::string(key);
    // Per-layer arrays of equal numbers are written by some converters; the first layer speaks for all.
    const MetaValue* value = metadata_.find(full);
    if (value != nullptr && is_array(*value)) {
      const auto list = metadata_.integers(full);
      if (list->empty() ||
          std::any_of(list->begin(), list->end(), [&](std::int64_t v) { return v != list->front(); })) {
        throw Error(ErrorKind::kUnsupported, fmt::format("{} differs between layers", full));
      }
      return list->front();
    }
    return metadata_.integer(full);
  }
  std::int64_t integer(std::string_view key) const {
    if (const auto value = maybe(key)) return *value;
    throw missing(key);
  }
  std::int64_t integer_or(std::string_view key, std::int64_t fallback) const { return maybe(key).value_or(fallback); }
  std::optional<double> number(std::string_view key) const { return metadata_.number(prefix_ + std::string(key)); }
  double needed_number(std::string_view key) const {
    if (const auto value = number(key)) return *value;
    throw missing(key);
  }
  std::optional<bool> boolean(std::string_view key) const { return metadata_.boolean(prefix_ + std::string(key)); }
  std::optional<std::string> string(std::string_view key) const { return metadata_.string(prefix_ + std::string(key)); }
  // A flag for every layer; nothing where there is no array.
  std::optional<std::vector<bool>> flags(std::string_view key) const {
    const std::string full = prefix_ + std::string(key);
    const MetaValue* value = metadata_.find(full);
    if (value == nullptr || !is_array(*value)) return std::nullopt;
    std::vector<bool> flags;
    if (const auto* bools = std::get_if<MetaArray<bool>>(value)) {
      flags.assign(bools->values.begin(), bools->values.end());
    } else {
      const auto numbers = metadata_.integers(full);
      for (const std::int64_t number : *numbers) flags.push_back(number != 0);
    }
    return flags;
  }
  const std::string& prefix() const { return prefix_; }
  Error missing(std::string_view key, std::string_view why = {}) const {
    return Error(ErrorKind::kBadFile, fmt::format("the file has no key {}{}{}", prefix_, key, why));
  }
  // Whether the key is absent or says 0 or 1 (for every layer): neither changes anything.
  bool neutral(std::string_view key) const {
    const std::string full = prefix_ + std::string(key);
    const MetaValue* value = metadata_.find(full);
    if (value == nullptr) return true;
    const std::vector<double> numbers = is_array(*value) ? *metadata_.numbers(full) : std::vector{number_of(full)};
    return std::all_of(numbers.begin(), numbers.end(), [](double v) { return v == 0.0 || v == 1.0; });
  }

 private:
  double number_of(const std::string& full) const {
    return std::holds_alternative<bool>(*metadata_.find(full)) ? *metadata_.boolean(full) : *metadata_.number(full);
  }
  const Metadata& metadata_;
  std::string prefix_;
};

// ---- of several architectures (config_gguf.cpp) ---------------------------------------------------------------------

void tell_default(const GgufKeys& keys, std::string_view key, std::string_view what, Level level, const Log& log);
// The kind of scaling where the file does not name it: keys of one kind alone tell, a factor does not.
std::string scaling_type(const GgufKeys& keys, const Log& log);
// block_count includes the layers of nextn_predict_layers, which files name or show.
void read_layer_count(const GgufKeys& keys, const TensorFacts& facts, ModelConfig& c, const Log& log);
void read_vocabulary(const Metadata& metadata, const GgufKeys& keys, const FindMatrix& find, ModelConfig& c,
                     const Log& log);
std::optional<GatingKind> gating_by_key(const GgufKeys& keys);

// ---- grouped queries (config_gguf_gqa.cpp) ---------------------------------------------------------------------------

bool has_grouped_queries(std::string_view architecture);
// Everything that belongs to the architecture; `c` has its name.
void read_grouped(const Metadata& metadata, const GgufKeys& keys, const FindMatrix& find, ModelConfig& c,
                  const Log& log);

}  // namespace dodeca::runtime
