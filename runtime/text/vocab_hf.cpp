// tokenizer.json with tokenizer_config.json, config.json, generation_config.json and chat_template.jinja beside it ->
// Vocab.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/file.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/text/hf_files.hpp"
#include "runtime/text/hf_pretokenizer.hpp"
#include "runtime/text/pretokenizer.hpp"
#include "runtime/text/vocab.hpp"

namespace dodeca::runtime {
namespace {

// The largest published ones have 35 MB and 1.5 million values.
constexpr std::uint64_t kMaxTokenizerBytes = std::uint64_t{64} << 20;
constexpr std::size_t kMaxTokenizerValues = std::size_t{4} << 20;

// Control tokens that published files forget to mark as special; converters go by the look too.
bool looks_special(std::string_view text) {
  const auto framed = [text](std::string_view open, std::string_view close) {
    return text.starts_with(open) && text.ends_with(close);
  };
  return text == "<pad>" || text == "<mask>" || framed("<|", "|>") || framed("<｜", "｜>") || framed("<unused", ">");
}

std::size_t checked_id(const Json& value, std::string_view token, std::size_t limit) {
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 || value.get<std::uint64_t>() >= limit) {
    throw Error(ErrorKind::kBadFile, "tokenizer.json: token id out of range")
        .with("token", printable(token, 80))
        .with("id", printable(value.dump(), 40))
        .with("limit", limit);
  }
  return value.get<std::size_t>();
}

void read_tokens(const Json& root, Vocab& vocab) {
  const Json& entries = json_member(json_member(root, "model"), "vocab");
  const Json& added = json_member(root, "added_tokens");
  if (!entries.is_object() || entries.empty()) throw Error(ErrorKind::kBadFile, "tokenizer.json: no vocabulary");
  // Ids are dense up to some reserved gaps; a far one is an error, not a reason to allocate.
  const std::size_t limit = 2 * (entries.size() + (added.is_array() ? added.size() : 0)) + 65536;
  const auto put = [&](std::size_t id, const std::string& text, TokenType type) {
    if (id >= vocab.tokens.size()) {
      vocab.tokens.resize(id + 1);
      vocab.types.resize(id + 1, TokenType::kUnused);
    }
    if (!vocab.tokens[id].empty() && vocab.tokens[id] != text) {
      throw Error(ErrorKind::kBadFile, "tokenizer.json: two tokens with one id")
          .with("id", id)
          .with("tokens", printable(vocab.tokens[id] + " and " + text, 160));
    }
    vocab.tokens[id] = text;
    vocab.types[id] = type;
  };
  for (auto it = entries.begin(); it != entries.end(); ++it)
    put(checked_id(it.value(), it.key(), limit), it.key(), TokenType::kNormal);
  if (!added.is_null() && !added.is_array())
    throw Error(ErrorKind::kBadFile, "tokenizer.json: added_tokens is no list");
  for (const Json& token : added) {
    const std::string text = json_string(token, "content");
    const std::size_t id = checked_id(json_member(token, "id"), text, limit);
    put(id, text,
        json_bool(token, "special", false) || looks_special(text) ? TokenType::kControl : TokenType::kUserDefined);
    const AddedFlags flags{json_bool(token, "lstrip", false), json_bool(token, "rstrip", false),
                           json_bool(token, "single_word", false)};
    if (flags.lstrip || flags.rstrip || flags.single_word)
      vocab.added_flags.emplace_back(static_cast<TokenId>(id), flags);
  }
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (vocab.tokens[id].empty()) {
      vocab.tokens[id] = fmt::format("[PAD{}]", id);
      vocab.types[id] = TokenType::kUnused;
    }
  }
}

void read_merges(const Json& merges, Vocab& vocab) {
  if (!merges.is_array()) throw Error(ErrorKind::kBadFile, "tokenizer.json: no list of merges");
  vocab.merges.reserve(merges.size());
  for (const Json& merge : merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      vocab.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const std::size_t space = text.find(' ');
    if (space == std::string::npos || space == 0 || space + 1 == text.size()) {
      throw Error(ErrorKind::kBadFile, "tokenizer.json: a merge is no pair")
          .with("merge", vocab.merges.size())
          .with("found", printable(merge.dump(-1, ' ', false, Json::error_handler_t::replace), 80));
    }
    vocab.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
}

// Comparing needs one spelling: some files have line ends in their patterns as such, some as escapes.
std::vector<std::string> with_escaped_line_ends(std::vector<std::string> patterns) {
  for (std::string& pattern : patterns) {
    std::string out;
    for (const char c : pattern) out += c == '\r' ? "\\r" : c == '\n' ? "\\n" : std::string(1, c);
    pattern = out;
  }
  return patterns;
}

void name_pre(Vocab& vocab) {
  const std::vector<std::string> spelled = with_escaped_line_ends(vocab.patterns);
  std::string_view name = recognise_pre(spelled);
  if (name.empty() && spelled.size() == 6) {
    // deepseek-llm with single digits: its vocabulary has no longer ones, so that both spellings give the same ids.
    std::vector<std::string> joined = spelled;
    if (joined.back() == R"(\p{N})") joined.back() = R"(\p{N}+)";
    name = recognise_pre(joined) == "deepseek-llm" ? "deepseek-llm" : "";
  }
  if (name.empty()) return;
  const auto has = [&](std::string_view text) {
    return std::find(vocab.tokens.begin(), vocab.tokens.end(), text) != vocab.tokens.end();
  };
  if (name == "llama-bpe") {
    const bool glm = has("[gMASK]");
    name = vocab.ignore_merges ? (glm ? "glm4" : "llama-bpe") : (glm ? "chatglm-bpe" : "smaug-bpe");
  } else if (name == "qwen2" && has("<｜begin▁of▁sentence｜>")) {
    name = "deepseek-r1-qwen";
  }
  vocab.pre = name;
  vocab.patterns = find_pre(name)->patterns;
}

}  // namespace

Vocab vocab_from_tokenizer_json(const std::filesystem::path& directory) {
  const Json root = read_json(directory / "tokenizer.json", kMaxTokenizerBytes, kMaxTokenizerValues);
  const Json& model = json_member(root, "model");
  if (const std::string type = json_string(model, "type", "BPE"); type != "BPE") {
    throw Error(ErrorKind::kUnsupported, "tokenizer.json: model type \"" + printable(type, 40) + "\" is not known")
        .with("known", "BPE");
  }
  const Json config = optional_json(directory / "tokenizer_config.json");
  Vocab vocab;
  read_tokens(root, vocab);
  read_merges(json_member(model, "merges"), vocab);
  vocab.ignore_merges = json_bool(model, "ignore_merges", false);
  const HfPreTokenizer pre = read_hf_pre_tokenizer(json_member(root, "pre_tokenizer"), json_member(root, "normalizer"));
  if (pre.byte_level && !pre.metaspace) {
    vocab.patterns = pre.patterns;
    vocab.prefix_space_to_words = pre.prefix_space;
    name_pre(vocab);
  } else if (pre.metaspace && !pre.byte_level && pre.patterns.empty()) {
    vocab.kind = VocabKind::kSentencePiece;
    vocab.pre = "default";
    vocab.add_space_prefix = pre.metaspace_prefix;
    vocab.prefix_only_at_start = pre.metaspace_only_first;
    vocab.prefix_if_missing = pre.metaspace_if_missing;
    for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
      const std::string& text = vocab.tokens[id];
      if (vocab.types[id] == TokenType::kNormal && text.size() == 6 && text.starts_with("<0x") && text.back() == '>') {
        vocab.types[id] = TokenType::kByte;
      }
    }
  } else {
    throw Error(ErrorKind::kUnsupported, "tokenizer.json: neither a byte-level nor a SentencePiece-like vocabulary");
  }
  read_roles(directory, config, vocab);

  // Which of the two says whether BOS is added depends on the class that reads the file: Llama's rebuilds the template
  // from its flags, the others go by the template.
  const std::optional<HfTemplate> around = read_hf_template(json_member(root, "post_processor"));
  const bool llama_class = json_string(config, "tokenizer_class").find("Llama") != std::string::npos;
  const auto role_text = [&](TokenRole role) {
    return vocab.role(role) == Vocab::kNone ? "" : vocab.tokens[vocab.role(role)];
  };
  vocab.add_bos = json_bool(config, "add_bos_token", llama_class);
  vocab.add_eos = json_bool(config, "add_eos_token", false);
  if (around && !(llama_class && json_member(config, "add_bos_token").is_boolean())) {
    vocab.add_bos = !around->first.empty() && around->first == role_text(TokenRole::kBos);
    vocab.add_eos = !around->last.empty() && around->last == role_text(TokenRole::kEos);
  }
  return vocab;
}

}  // namespace dodeca::runtime
