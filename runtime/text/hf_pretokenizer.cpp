#include "runtime/text/hf_pretokenizer.hpp"

#include <nlohmann/json.hpp>

#include "runtime/base/error.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/text/pretokenizer.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";

[[noreturn]] void unsupported(const char* section, const Json& what) {
  throw Error(ErrorKind::kUnsupported, fmt::format("tokenizer.json: {} is not known", section))
      .with("found", printable(what.dump(-1, ' ', false, Json::error_handler_t::replace), 300));
}

// A string pattern as a regular expression.
std::string escaped_literal(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string pattern_of(const Json& split) {
  const Json& pattern = json_member(split, "pattern");
  if (std::string regex = json_string(pattern, "Regex"); !regex.empty()) return regex;
  if (const std::string text = json_string(pattern, "String"); !text.empty()) return escaped_literal(text);
  unsupported("this Split pattern", split);
}

void add_pre_tokenizer(const Json& step, HfPreTokenizer& out) {
  const std::string type = json_string(step, "type");
  if (type == "Sequence") {
    for (const Json& inner : json_member(step, "pretokenizers")) {
      if (json_string(inner, "type") == "Sequence") unsupported("a sequence in a sequence of pre-tokenizers", step);
      add_pre_tokenizer(inner, out);
    }
  } else if (type == "Split") {
    // Removed + invert keeps the matches and drops what is between them, which with published patterns is nothing.
    const std::string behavior = json_string(step, "behavior");
    const bool invert = json_bool(step, "invert", false);
    if (behavior != "Isolated" && !(behavior == "Removed" && invert)) unsupported("this Split behaviour", step);
    out.patterns.push_back(pattern_of(step));
  } else if (type == "Digits") {
    out.patterns.emplace_back(json_bool(step, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)");
  } else if (type == "Punctuation") {
    const std::string behavior = json_string(step, "behavior", "Isolated");
    if (behavior != "Isolated" && behavior != "Contiguous") unsupported("this Punctuation behaviour", step);
    out.patterns.push_back(std::string(R"([\p{P}!-/:-@\[-`{-~])") + (behavior == "Contiguous" ? "+" : ""));
  } else if (type == "ByteLevel") {
    out.byte_level = true;
    if (json_bool(step, "add_prefix_space", true)) {
      if (!out.patterns.empty()) unsupported("add_prefix_space after a split", step);
      out.prefix_space = true;
    }
    if (json_bool(step, "use_regex", true)) {
      out.patterns.emplace_back(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
    }
  } else if (type == "Metaspace") {
    const std::string scheme =
        json_string(step, "prepend_scheme", json_bool(step, "add_prefix_space", true) ? "always" : "never");
    if (json_string(step, "replacement", std::string(kSpaceMark)) != kSpaceMark || json_bool(step, "split", true)) {
      unsupported("this Metaspace", step);
    }
    out.metaspace = true;
    out.metaspace_prefix = scheme != "never";
    out.metaspace_only_first = scheme == "first";
    out.metaspace_if_missing = true;
  } else {
    unsupported("this pre-tokenizer", step);
  }
}

void add_normalizer(const Json& step, HfPreTokenizer& out) {
  const std::string type = json_string(step, "type");
  if (type == "Sequence") {
    for (const Json& inner : json_member(step, "normalizers")) {
      if (json_string(inner, "type") == "Sequence") unsupported("a sequence in a sequence of normalizers", step);
      add_normalizer(inner, out);
    }
  } else if (type == "NFC") {
    // Left out, as llama.cpp does: text is practically always in this form already.
  } else if (type == "Prepend" && json_string(step, "prepend") == kSpaceMark) {
    out.metaspace = out.metaspace_prefix = true;
  } else if (type == "Replace" && json_string(json_member(step, "pattern"), "String") == " " &&
             json_string(step, "content") == kSpaceMark) {
    out.metaspace = true;
  } else {
    unsupported("this normalizer", step);
  }
}

}  // namespace

const Json& json_member(const Json& object, const char* key) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

std::string json_string(const Json& object, const char* key, std::string fallback) {
  const Json& value = json_member(object, key);
  return value.is_string() ? value.get<std::string>() : std::move(fallback);
}

bool json_bool(const Json& object, const char* key, bool fallback) {
  const Json& value = json_member(object, key);
  return value.is_boolean() ? value.get<bool>() : fallback;
}

HfPreTokenizer read_hf_pre_tokenizer(const Json& pre_tokenizer, const Json& normalizer) {
  HfPreTokenizer out;
  if (!normalizer.is_null()) add_normalizer(normalizer, out);
  if (!pre_tokenizer.is_null()) add_pre_tokenizer(pre_tokenizer, out);
  return out;
}

std::optional<HfTemplate> read_hf_template(const Json& post_processor) {
  const std::string type = json_string(post_processor, "type");
  if (type == "Sequence") {
    for (const Json& inner : json_member(post_processor, "processors")) {
      if (json_string(inner, "type") == "TemplateProcessing") return read_hf_template(inner);
    }
    return std::nullopt;
  }
  if (type != "TemplateProcessing") return std::nullopt;
  const Json& single = json_member(post_processor, "single");
  HfTemplate out;
  if (!single.is_array() || single.size() < 2) return out;
  out.first = json_string(json_member(single.front(), "SpecialToken"), "id");
  out.last = json_string(json_member(single.back(), "SpecialToken"), "id");
  return out;
}

}  // namespace dodeca::runtime
