// tiktoken.model (Kimi-K2): one line per token, its bytes in base64 and its rank, which is its id; special tokens above
// them come from tokenizer_config.json, and the rest of the vocabulary that config.json announces is reserved.
#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "runtime/base/file.hpp"
#include "runtime/text/byte_map.hpp"
#include "runtime/text/hf_files.hpp"
#include "runtime/text/hf_pretokenizer.hpp"
#include "runtime/text/pretokenizer.hpp"
#include "runtime/text/vocab.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::uint64_t kMaxFileBytes = 64u << 20;  // Kimi's has about 3 MB
constexpr std::size_t kReserved = 256;              // special ids above the ranks when config.json does not say

[[noreturn]] void bad_line(std::size_t line, std::string_view why) {
  throw Error(ErrorKind::kBadFile, "tiktoken.model: " + std::string(why)).with("line", line);
}

std::string decode_base64(std::string_view text, std::size_t line) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::uint32_t bits = 0;
  int n_bits = 0;
  if (text.size() % 4 != 0) bad_line(line, "base64 length is no multiple of 4");
  for (std::size_t i = 0; i < text.size() && text[i] != '='; ++i) {
    const std::size_t digit = kDigits.find(text[i]);
    if (digit == std::string_view::npos) bad_line(line, "not base64");
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    n_bits += 6;
    if (n_bits >= 8) {
      n_bits -= 8;
      out.push_back(static_cast<char>(bits >> n_bits & 0xFF));
    }
  }
  return out;
}

void read_ranks(std::string_view text, Vocab& vocab) {
  const auto n_lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  vocab.tokens.reserve(n_lines);
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view row = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (row.ends_with('\r')) row.remove_suffix(1);
    if (row.empty()) continue;
    const std::size_t space = row.find(' ');
    if (space == std::string_view::npos) bad_line(line, "no rank");
    std::size_t rank = 0;
    const std::string_view digits = row.substr(space + 1);
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
    if (error != std::errc() || stop != digits.data() + digits.size() || rank >= n_lines)
      bad_line(line, "rank out of range");
    if (rank >= vocab.tokens.size()) vocab.tokens.resize(rank + 1);
    if (!vocab.tokens[rank].empty()) bad_line(line, "rank used twice");
    vocab.tokens[rank] = bytes_to_mapped(decode_base64(row.substr(0, space), line));
    if (vocab.tokens[rank].empty()) bad_line(line, "empty token");
  }
  for (std::size_t rank = 0; rank < vocab.tokens.size(); ++rank) {
    if (vocab.tokens[rank].empty())
      throw Error(ErrorKind::kBadFile, "tiktoken.model: a rank is missing").with("rank", rank);
  }
  if (vocab.tokens.empty()) throw Error(ErrorKind::kBadFile, "tiktoken.model: no tokens");
  vocab.types.assign(vocab.tokens.size(), TokenType::kNormal);
}

}  // namespace

Vocab vocab_from_tiktoken(const std::filesystem::path& directory) {
  const InputFile file(directory / "tiktoken.model");
  if (file.size() > kMaxFileBytes) {
    throw Error(ErrorKind::kBadFile, "tiktoken.model is too large")
        .with("bytes", file.size())
        .with("limit", kMaxFileBytes);
  }
  std::string text(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  Vocab vocab;
  read_ranks(text, vocab);
  const std::size_t n_ranks = vocab.tokens.size();

  const Json config = optional_json(directory / "config.json");
  const Json& text_config = json_member(config, "text_config");
  const Json& size = json_member(text_config.is_object() ? text_config : config, "vocab_size");
  std::size_t n_tokens = n_ranks + kReserved;
  if (size.is_number_unsigned() && size.get<std::uint64_t>() >= n_ranks &&
      size.get<std::uint64_t>() <= n_ranks + 65536) {
    n_tokens = size.get<std::size_t>();
  }
  vocab.tokens.resize(n_tokens);
  vocab.types.resize(n_tokens, TokenType::kControl);
  const Json tokenizer_config = optional_json(directory / "tokenizer_config.json");
  const Json& added = json_member(tokenizer_config, "added_tokens_decoder");
  for (auto it = added.begin(); it != added.end(); ++it) {
    std::size_t id = 0;
    const std::string key = added.is_object() ? it.key() : "";
    const auto [stop, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const std::string content = json_string(it.value(), "content");
    if (error != std::errc() || stop != key.data() + key.size() || id < n_ranks || id >= n_tokens || content.empty()) {
      throw Error(ErrorKind::kBadFile, "tokenizer_config.json: an added token has no id above the ranks")
          .with("id", key)
          .with("first", n_ranks)
          .with("end", n_tokens);
    }
    vocab.tokens[id] = content;
    vocab.types[id] = json_bool(it.value(), "special", true) ? TokenType::kControl : TokenType::kUserDefined;
  }
  for (std::size_t id = n_ranks; id < n_tokens; ++id) {
    if (vocab.tokens[id].empty()) vocab.tokens[id] = fmt::format("<|reserved_token_{}|>", id);
  }
  vocab.pre = "kimi-k2";
  vocab.patterns = find_pre(vocab.pre)->patterns;
  read_roles(directory, tokenizer_config, vocab);
  vocab.add_bos = json_bool(tokenizer_config, "add_bos_token", false);
  return vocab;
}

}  // namespace dodeca::runtime
