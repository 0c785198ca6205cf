#include "runtime/text/tokenizer.hpp"

#include <algorithm>
#include <limits>

#include "runtime/text/byte_map.hpp"
#include "runtime/text/special_tokens.hpp"
#include "runtime/text/string_table.hpp"
#include "runtime/text/utf8.hpp"
#include "runtime/text/vocab.hpp"
#include "runtime/text/word_encoder.hpp"

namespace dodeca::runtime {
namespace {

// Texts that end a generation in the models that have them, whatever ids the file names.
constexpr std::string_view kEndTexts[] = {
    "<|eot_id|>",    "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>",   "<|eom_id|>",
    "<end_of_turn>", "</s>",       "<EOT>",   "[EOT]",      "[EOS]",    "<|end_of_text|>", "<｜end▁of▁sentence｜>"};
// Fill-in-the-middle padding and repository or file separators: a completion never goes on after one.
constexpr std::string_view kFimEndTexts[] = {"<|fim_pad|>", "<fim-pad>",    "<fim_pad>",     "<PAD>",
                                             "[PAD]",       "<|fim_repo|>", "<|repo_name|>", "<fim-repo>",
                                             "<REPO>",      "<reponame>",   "<|file_sep|>"};
// gpt-oss: part of what a reader should see.
constexpr std::string_view kRenderedTexts[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};

std::string spaces_from_marks(std::string_view text) {
  constexpr std::string_view kMark = "\u2581";
  std::string out;
  for (std::size_t pos = 0; pos < text.size();) {
    if (text.substr(pos).starts_with(kMark)) {
      out += ' ';
      pos += kMark.size();
    } else {
      out += text[pos++];
    }
  }
  return out;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(Vocab v) : vocab(std::move(v)) {
    by_text.reserve(vocab.tokens.size());
    for (std::size_t id = 0; id < vocab.tokens.size(); ++id)
      by_text.insert_or_assign(vocab.tokens[id], static_cast<TokenId>(id));
    set_ends();
    if (vocab.role(TokenRole::kBos) == Vocab::kNone) vocab.add_bos = false;
    if (vocab.role(TokenRole::kEos) == Vocab::kNone) vocab.add_eos = false;
    bytes.reserve(vocab.tokens.size());
    for (std::size_t id = 0; id < vocab.tokens.size(); ++id) bytes.push_back(bytes_of(id));
    special = std::make_unique<SpecialTokens>(vocab);
    words = vocab.kind == VocabKind::kByteLevel ? make_bpe_encoder(vocab) : make_sentencepiece_encoder(vocab);
  }

  TokenId find(std::string_view text) const {
    const auto found = by_text.find(text);
    return found == by_text.end() ? Vocab::kNone : found->second;
  }

  void set_ends() {
    ends.assign(vocab.tokens.size(), false);
    const auto end = [this](TokenId id) {
      if (id != Vocab::kNone) ends[id] = true;
    };
    const auto end_text = [&](std::string_view text) {
      const TokenId id = find(text);
      end(id);
      if (id != Vocab::kNone) vocab.types[id] = TokenType::kControl;  // some files call them normal
    };
    for (const std::string_view text : kEndTexts) end_text(text);
    for (const std::string_view text : kFimEndTexts) end_text(text);
    for (const TokenRole role : {TokenRole::kEos, TokenRole::kEot, TokenRole::kEom, TokenRole::kFimPad,
                                 TokenRole::kFimRep, TokenRole::kFimSep})
      end(vocab.role(role));
    for (const TokenId id : vocab.more_ends) end(id);
    // gpt-oss: <|end|> closes a message of an answer that may go on in another channel.
    if (find("<|return|>") != Vocab::kNone && find("<|call|>") != Vocab::kNone && find("<|end|>") != Vocab::kNone) {
      ends[find("<|end|>")] = false;
    }
    for (const std::string_view text : kRenderedTexts) {
      if (const TokenId id = find(text); id != Vocab::kNone) vocab.types[id] = TokenType::kUserDefined;
    }
  }

  std::string bytes_of(std::size_t id) const {
    const std::string& text = vocab.tokens[id];
    switch (vocab.types[id]) {
      case TokenType::kControl:
      case TokenType::kUnknown:
      case TokenType::kUserDefined:
        return text;
      case TokenType::kUnused:
        return "";
      case TokenType::kByte: {
        const int byte = byte_of_token(text);
        return byte < 0 ? "" : std::string(1, static_cast<char>(byte));
      }
      case TokenType::kNormal:
        break;
    }
    if (vocab.kind == VocabKind::kSentencePiece) return spaces_from_marks(text);
    return mapped_to_bytes(text).value_or(text);
  }

  bool hidden(TokenId id) const {
    const TokenType type = vocab.types[id];
    return type == TokenType::kControl || type == TokenType::kUnknown;
  }
  bool known(TokenId id) const { return id >= 0 && static_cast<std::size_t>(id) < vocab.tokens.size(); }

  void encode(std::string_view text, std::string_view trusted, bool all_trusted, std::vector<TokenId>& out) const {
    if (text.size() > std::numeric_limits<std::int32_t>::max()) {
      throw Error(ErrorKind::kBadRequest, "text too long to tokenize at once")
          .with("bytes", text.size())
          .with("limit", std::numeric_limits<std::int32_t>::max());
    }
    std::size_t pos = 0;
    bool first = true;
    for (const SpecialTokens::Found& found : special->find(text, trusted, all_trusted)) {
      if (found.begin > pos) words->encode(text.substr(pos, found.begin - pos), first, out);
      out.push_back(found.token);
      pos = found.end;
      first = !vocab.prefix_only_at_start;
    }
    if (pos < text.size()) words->encode(text.substr(pos), first, out);
  }

  Vocab vocab;
  StringMap<TokenId> by_text;
  std::vector<bool> ends;
  std::vector<std::string> bytes;  // of every token when printed
  std::unique_ptr<SpecialTokens> special;
  std::unique_ptr<WordEncoder> words;
};

Tokenizer::Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_gguf(const Metadata& metadata) {
  Tokenizer tokenizer;
  tokenizer.impl_ = std::make_unique<Impl>(vocab_from_gguf(metadata));
  return tokenizer;
}

Tokenizer Tokenizer::from_directory(const std::filesystem::path& directory) {
  Tokenizer tokenizer;
  if (std::filesystem::exists(directory / "tokenizer.json")) {
    tokenizer.impl_ = std::make_unique<Impl>(vocab_from_tokenizer_json(directory));
  } else if (std::filesystem::exists(directory / "tiktoken.model")) {
    tokenizer.impl_ = std::make_unique<Impl>(vocab_from_tiktoken(directory));
  } else {
    throw Error(ErrorKind::kBadFile, "the directory has neither tokenizer.json nor tiktoken.model")
        .with("directory", directory.string());
  }
  return tokenizer;
}

Tokenizer Tokenizer::from_path(const std::filesystem::path& path, std::span<const std::string> overrides) {
  if (std::filesystem::is_directory(path)) return from_directory(path);
  GgufFile file = GgufFile::open(path, GgufUse::kInspect);
  for (const std::string& assignment : overrides) override_kv(file.metadata(), assignment);
  try {
    return from_gguf(file.metadata());
  } catch (Error& error) {
    throw error.with("file", path.string());
  }
}

bool Tokenizer::available(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) {
    return std::filesystem::exists(path / "tokenizer.json") || std::filesystem::exists(path / "tiktoken.model");
  }
  const std::optional<std::string> model =
      GgufFile::open(path, GgufUse::kInspect).metadata().string("tokenizer.ggml.model");
  return model && *model != "none" && *model != "no_vocab";
}

void Tokenizer::write_metadata(Metadata& metadata, std::int64_t vocab_size) const {
  write_vocab(impl_->vocab, metadata, vocab_size);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> ids;
  if (options.add_special && impl_->vocab.add_bos) ids.push_back(impl_->vocab.role(TokenRole::kBos));
  impl_->encode(text, {}, options.parse_special, ids);
  if (options.add_special && impl_->vocab.add_eos) ids.push_back(impl_->vocab.role(TokenRole::kEos));
  return ids;
}

std::vector<TokenId> Tokenizer::encode_pieces(std::span<const TextPiece> pieces, bool add_special) const {
  std::string text, trusted;
  for (const TextPiece& piece : pieces) {
    text += piece.text;
    trusted.append(piece.text.size(), piece.special ? '\1' : '\0');
  }
  std::vector<TokenId> ids;
  impl_->encode(text, trusted, true, ids);
  if (add_special && impl_->vocab.add_bos && (ids.empty() || ids[0] != impl_->vocab.role(TokenRole::kBos))) {
    ids.insert(ids.begin(), impl_->vocab.role(TokenRole::kBos));
  }
  return ids;
}

std::string Tokenizer::piece(TokenId id, bool special) const {
  if (!impl_->known(id) || (!special && impl_->hidden(id))) return "";
  return impl_->bytes[id];
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool special) const {
  std::string out;
  // SentencePiece puts a space before the first word of a text: it is not the text's own.
  bool strip = impl_->vocab.add_space_prefix;
  for (const TokenId id : ids) {
    if (!impl_->known(id)) continue;
    const std::string& bytes = impl_->bytes[id];
    if (!impl_->hidden(id)) {
      out.append(bytes, strip && bytes.starts_with(' ') ? 1 : 0);
      strip = false;
    } else if (special) {
      out += bytes;
    }
  }
  return out;
}

std::int64_t Tokenizer::vocab_size() const { return static_cast<std::int64_t>(impl_->vocab.tokens.size()); }

namespace {
std::optional<TokenId> present(TokenId id) { return id == Vocab::kNone ? std::nullopt : std::optional<TokenId>(id); }
}  // namespace

std::optional<TokenId> Tokenizer::bos() const { return present(impl_->vocab.role(TokenRole::kBos)); }
std::optional<TokenId> Tokenizer::eos() const { return present(impl_->vocab.role(TokenRole::kEos)); }
bool Tokenizer::add_bos() const { return impl_->vocab.add_bos; }
bool Tokenizer::is_end_of_generation(TokenId id) const { return impl_->known(id) && impl_->ends[id]; }
std::optional<TokenId> Tokenizer::find(std::string_view token_text) const { return present(impl_->find(token_text)); }
std::string Tokenizer::chat_template() const { return impl_->vocab.chat_template; }
std::string Tokenizer::bos_text() const { return bos() ? impl_->vocab.tokens[*bos()] : ""; }
std::string Tokenizer::eos_text() const { return eos() ? impl_->vocab.tokens[*eos()] : ""; }

}  // namespace dodeca::runtime
