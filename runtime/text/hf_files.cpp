#include "runtime/text/hf_files.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/file.hpp"
#include "runtime/text/hf_pretokenizer.hpp"
#include "runtime/text/jinja.hpp"

namespace dodeca::runtime {
namespace {

TokenId id_of_text(const Vocab& vocab, std::string_view text) {
  const auto found = text.empty() ? vocab.tokens.end() : std::find(vocab.tokens.begin(), vocab.tokens.end(), text);
  return found == vocab.tokens.end() ? Vocab::kNone : static_cast<TokenId>(found - vocab.tokens.begin());
}

TokenId id_of_json(const Vocab& vocab, const Json& value) {
  if (!value.is_number_integer()) return Vocab::kNone;
  const auto id = value.get<std::int64_t>();
  return id >= 0 && id < static_cast<std::int64_t>(vocab.tokens.size()) ? static_cast<TokenId>(id) : Vocab::kNone;
}

// "bos_token": a string or an AddedToken.
std::string token_text(const Json& config, const char* key) {
  const Json& value = json_member(config, key);
  return value.is_string() ? value.get<std::string>() : json_string(value, "content");
}

// One that is too long is cut behind the limit, so that whoever wants to chat is told, and nobody else.
std::string read_template(const std::filesystem::path& directory, const Json& config) {
  const std::filesystem::path path = directory / "chat_template.jinja";
  if (std::filesystem::exists(path)) {
    const InputFile file(path);
    std::string text(std::min<std::uint64_t>(file.size(), jinja::kMaxSourceBytes + 1), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
  }
  const Json& source = json_member(config, "chat_template");
  if (source.is_string()) return source.get<std::string>();
  // Several templates by name: "default" is the one without tools or documents.
  if (source.is_array()) {
    for (const Json& entry : source) {
      if (json_string(entry, "name") == "default") return json_string(entry, "template");
    }
  }
  return "";
}

// eos_token_id may be a list: the first is the end of a text, all end a generation.
void read_ends(const Json& config, Vocab& vocab) {
  const Json& eos = json_member(config, "eos_token_id");
  if (eos.is_array()) {
    for (const Json& entry : eos) {
      if (const TokenId id = id_of_json(vocab, entry); id != Vocab::kNone) vocab.more_ends.push_back(id);
    }
  } else if (const TokenId id = id_of_json(vocab, eos); id != Vocab::kNone) {
    vocab.more_ends.push_back(id);
  }
}

}  // namespace

Json optional_json(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? read_json(path) : Json();
}

void read_roles(const std::filesystem::path& directory, const Json& tokenizer_config, Vocab& vocab) {
  const Json config = optional_json(directory / "config.json");
  const Json& text_model = json_member(config, "text_config");  // of a model for images and text
  struct Entry {
    TokenRole role;
    const char *text_key, *id_key;
  };
  constexpr Entry kEntries[] = {
      {TokenRole::kBos, "bos_token", "bos_token_id"},   {TokenRole::kEos, "eos_token", "eos_token_id"},
      {TokenRole::kUnk, "unk_token", "unk_token_id"},   {TokenRole::kSep, "sep_token", "sep_token_id"},
      {TokenRole::kPad, "pad_token", "pad_token_id"},   {TokenRole::kCls, "cls_token", "cls_token_id"},
      {TokenRole::kMask, "mask_token", "mask_token_id"}};
  for (const Entry& entry : kEntries) {
    vocab.role(entry.role) = id_of_text(vocab, token_text(tokenizer_config, entry.text_key));
    for (const Json* where : {&config, &text_model}) {
      if (vocab.role(entry.role) != Vocab::kNone) break;
      const Json& id = json_member(*where, entry.id_key);
      vocab.role(entry.role) = id_of_json(vocab, id.is_array() && !id.empty() ? id.front() : id);
    }
  }
  // GLM names its roles in no file.
  if (vocab.pre == "glm4" || vocab.pre == "chatglm-bpe") {
    vocab.role(TokenRole::kBos) = id_of_text(vocab, "[gMASK]");
    vocab.role(TokenRole::kEot) = id_of_text(vocab, "<|user|>");
    vocab.role(TokenRole::kEom) = id_of_text(vocab, "<|observation|>");
  }
  for (const Json* where : {&config, &text_model}) read_ends(*where, vocab);
  read_ends(optional_json(directory / "generation_config.json"), vocab);
  vocab.chat_template = read_template(directory, tokenizer_config);
}

}  // namespace dodeca::runtime
