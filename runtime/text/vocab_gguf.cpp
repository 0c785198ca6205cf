// tokenizer.ggml.* keys -> Vocab, and back.
#include <fmt/format.h>

#include <algorithm>

#include "runtime/text/byte_map.hpp"
#include "runtime/text/pretokenizer.hpp"
#include "runtime/text/vocab.hpp"
#include "runtime/text/word_encoder.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::string_view kPrefix = "tokenizer.";

[[noreturn]] void bad(std::string_view sentence, std::string_view key, std::size_t have, std::size_t want) {
  throw Error(ErrorKind::kBadFile, std::string(sentence)).with("key", key).with("have", have).with("want", want);
}

std::string joined(const std::vector<std::string_view>& names) {
  std::string out;
  for (const std::string_view name : names) out += (out.empty() ? "" : ", ") + std::string(name);
  return out;
}

void read_pre(const Metadata& metadata, Vocab& vocab) {
  vocab.pre = metadata.string("tokenizer.ggml.pre").value_or("default");
  if (vocab.pre.empty()) vocab.pre = "default";
  const std::optional<PreInfo> info = find_pre(vocab.pre);
  if (!info) {
    throw Error(ErrorKind::kUnsupported, "unknown pre-tokenizer \"" + vocab.pre + "\"")
        .with("known", joined(pre_names()));
  }
  vocab.patterns = info->patterns;
  vocab.ignore_merges = info->ignore_merges;
  vocab.add_bos = info->add_bos;
}

void read_merges(const Metadata& metadata, Vocab& vocab) {
  constexpr std::string_view kKey = "tokenizer.ggml.merges";
  const std::vector<std::string>* merges = metadata.strings(kKey);
  if (!merges) {
    if (vocab.pre == "kimi-k2") return;  // ranks are the ids
    throw Error(ErrorKind::kBadFile, "byte-pair vocabulary without merges").with("key", kKey);
  }
  vocab.merges.reserve(merges->size());
  for (const std::string& merge : *merges) {
    const std::size_t space = merge.find(' ', 1);
    // A line without two parts keeps its rank and merges nothing.
    if (merge.empty() || space == std::string::npos) {
      vocab.merges.emplace_back();
    } else {
      vocab.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
  }
}

void read_types_and_scores(const Metadata& metadata, Vocab& vocab) {
  const std::size_t n = vocab.tokens.size();
  vocab.types.assign(n, TokenType::kNormal);
  if (const auto types = metadata.integers("tokenizer.ggml.token_type")) {
    if (types->size() < n) bad("fewer token types than tokens", "tokenizer.ggml.token_type", types->size(), n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::int64_t type = (*types)[i];
      vocab.types[i] = type >= 1 && type <= 6 ? static_cast<TokenType>(type) : TokenType::kUnused;
    }
  }
  if (const auto scores = metadata.numbers("tokenizer.ggml.scores")) {
    if (scores->size() < n) bad("fewer token scores than tokens", "tokenizer.ggml.scores", scores->size(), n);
    vocab.scores.assign(scores->begin(), scores->begin() + static_cast<std::ptrdiff_t>(n));
  } else if (vocab.kind == VocabKind::kSentencePiece) {
    throw Error(ErrorKind::kBadFile, "SentencePiece vocabulary without scores").with("key", "tokenizer.ggml.scores");
  }
}

void read_roles(const Metadata& metadata, Vocab& vocab) {
  const auto n = static_cast<std::int64_t>(vocab.tokens.size());
  for (std::size_t i = 0; i < kTokenRoles; ++i) {
    const auto role = static_cast<TokenRole>(i);
    const std::optional<std::int64_t> id = metadata.integer(role_key(role));
    // An id outside the vocabulary is no token; llama.cpp goes on without it too.
    if (id) vocab.role(role) = *id >= 0 && *id < n ? static_cast<TokenId>(*id) : Vocab::kNone;
  }
  for (std::size_t i = 0; i < kTokenRoles; ++i) {
    if (vocab.roles[i] >= n) vocab.roles[i] = Vocab::kNone;  // a default that this vocabulary does not reach
  }
}

}  // namespace

std::string_view role_key(TokenRole role) {
  static constexpr std::array<std::string_view, kTokenRoles> kKeys = {
      "tokenizer.ggml.bos_token_id",       "tokenizer.ggml.eos_token_id",     "tokenizer.ggml.unknown_token_id",
      "tokenizer.ggml.seperator_token_id", "tokenizer.ggml.padding_token_id", "tokenizer.ggml.cls_token_id",
      "tokenizer.ggml.mask_token_id",      "tokenizer.ggml.eot_token_id",     "tokenizer.ggml.eom_token_id",
      "tokenizer.ggml.fim_pre_token_id",   "tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.fim_mid_token_id",
      "tokenizer.ggml.fim_pad_token_id",   "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id"};
  return kKeys[static_cast<std::size_t>(role)];
}

Vocab vocab_from_gguf(const Metadata& metadata) {
  Vocab vocab;
  const std::optional<std::string> model = metadata.string("tokenizer.ggml.model");
  if (!model || *model == "none" || *model == "no_vocab") {
    throw Error(ErrorKind::kUnsupported, "the file has no vocabulary").with("key", "tokenizer.ggml.model");
  }
  if (*model != "gpt2" && *model != "llama") {
    throw Error(ErrorKind::kUnsupported, "unknown tokenizer model \"" + *model + "\"").with("known", "gpt2, llama");
  }
  vocab.kind = *model == "gpt2" ? VocabKind::kByteLevel : VocabKind::kSentencePiece;

  const std::vector<std::string>* tokens = metadata.strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty())
    throw Error(ErrorKind::kBadFile, "vocabulary without tokens").with("key", "tokenizer.ggml.tokens");
  if (tokens->size() > 1u << 30) bad("too many tokens", "tokenizer.ggml.tokens", tokens->size(), 1u << 30);
  vocab.tokens = *tokens;
  read_types_and_scores(metadata, vocab);
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    if (!vocab.tokens[i].empty()) continue;
    vocab.tokens[i] = fmt::format("[EMPTY_{}]", i);  // a placeholder that no text matches
    vocab.types[i] = TokenType::kUnused;
  }
  if (vocab.kind == VocabKind::kByteLevel) {
    read_pre(metadata, vocab);
    read_merges(metadata, vocab);
  } else {
    vocab.pre = "default";
    vocab.add_bos = vocab.add_space_prefix = true;
    vocab.role(TokenRole::kBos) = 1;
    vocab.role(TokenRole::kEos) = 2;
    vocab.role(TokenRole::kUnk) = 0;
    vocab.add_space_prefix = metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  }
  read_roles(metadata, vocab);
  vocab.add_bos = metadata.boolean("tokenizer.ggml.add_bos_token").value_or(vocab.add_bos);
  vocab.add_eos = metadata.boolean("tokenizer.ggml.add_eos_token").value_or(vocab.add_eos);
  vocab.chat_template = metadata.string("tokenizer.chat_template").value_or("");
  for (const auto& [key, value] : metadata.entries()) {
    if (key.starts_with(kPrefix)) vocab.original.emplace_back(key, value);
  }
  return vocab;
}

void write_vocab(const Vocab& vocab, Metadata& metadata, std::int64_t vocab_size) {
  if (!vocab.original.empty()) {
    for (const auto& [key, value] : vocab.original) metadata.set(key, value);
    return;
  }
  if (vocab_size < static_cast<std::int64_t>(vocab.tokens.size())) {
    throw Error(ErrorKind::kBadFile, "the vocabulary has more tokens than the model has rows")
        .with("tokens", vocab.tokens.size())
        .with("vocab_size", vocab_size);
  }
  if (vocab.kind == VocabKind::kByteLevel && vocab.pre.empty()) {
    throw Error(ErrorKind::kUnsupported, "the pre-tokenizer of this tokenizer.json has no name in GGUF files")
        .with("patterns", fmt::format("{}", fmt::join(vocab.patterns, "  ")));
  }
  const auto n = static_cast<std::size_t>(vocab_size);
  MetaArray<std::string> tokens{vocab.tokens};
  MetaArray<std::int32_t> types;
  for (const TokenType type : vocab.types) types.values.push_back(static_cast<std::int32_t>(type));
  for (std::size_t i = vocab.tokens.size(); i < n; ++i) tokens.values.push_back(fmt::format("[PAD{}]", i));
  types.values.resize(n, static_cast<std::int32_t>(TokenType::kUnused));

  const bool bpe = vocab.kind == VocabKind::kByteLevel;
  metadata.set("tokenizer.ggml.model", std::string(bpe ? "gpt2" : "llama"));
  metadata.set("tokenizer.ggml.pre", vocab.pre);
  metadata.set("tokenizer.ggml.tokens", std::move(tokens));
  if (!bpe) {
    MetaArray<float> scores{vocab.scores};
    // Without scores, the rank of the merge that makes a token orders it just as well.
    if (scores.values.empty()) {
      for (std::size_t i = 0; i < vocab.tokens.size(); ++i) scores.values.push_back(-static_cast<float>(i));
    }
    scores.values.resize(n, -10000.0f);
    metadata.set("tokenizer.ggml.scores", std::move(scores));
  }
  metadata.set("tokenizer.ggml.token_type", std::move(types));
  if (bpe) {
    MetaArray<std::string> merges;
    for (const auto& [left, right] : vocab.merges.empty() ? derive_merges(vocab) : vocab.merges) {
      merges.values.push_back(fmt::format("{} {}", left, right));
    }
    metadata.set("tokenizer.ggml.merges", std::move(merges));
  }
  for (std::size_t i = 0; i < kTokenRoles; ++i) {
    if (vocab.roles[i] != Vocab::kNone)
      metadata.set(std::string(role_key(static_cast<TokenRole>(i))), static_cast<std::uint32_t>(vocab.roles[i]));
  }
  metadata.set("tokenizer.ggml.add_bos_token", vocab.add_bos);
  metadata.set("tokenizer.ggml.add_eos_token", vocab.add_eos);
  if (!bpe) metadata.set("tokenizer.ggml.add_space_prefix", vocab.add_space_prefix);
  if (!vocab.chat_template.empty()) metadata.set("tokenizer.chat_template", vocab.chat_template);
}

}  // namespace dodeca::runtime
