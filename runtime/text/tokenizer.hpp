// Text <-> token ids. Immutable after construction and thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime {

using TokenId = std::int32_t;

struct EncodeOptions {
  bool add_special = true;    // BOS (and EOS) as the model's flags say
  bool parse_special = true;  // control tokens in the text become ids; false for what users typed
};

// A stretch of a rendered prompt: `special` where the template wrote it, false where a user did.
struct TextPiece {
  std::string text;
  bool special = false;
};

class Tokenizer {
 public:
  // From GGUF metadata (any architecture, vocabulary-only files too). Error{kUnsupported} names an unknown model or
  // pre-tokenizer and the known ones.
  static Tokenizer from_gguf(const Metadata& metadata);
  // From a directory: tokenizer.json, or tiktoken.model (kimi-k2), with tokenizer_config.json and config.json when
  // there.
  static Tokenizer from_directory(const std::filesystem::path& directory);
  // path: a GGUF or a directory.
  // overrides: KEY=TYPE:VALUE, for a GGUF.
  static Tokenizer from_path(const std::filesystem::path& path, std::span<const std::string> overrides = {});
  // True when the file has a vocabulary at all (tokenizer.ggml.model present and not "none"/"no_vocab").
  static bool available(const std::filesystem::path& path);
  // What converters store: the tokenizer.ggml.* keys of this vocabulary for a GGUF (tokens, token_type, merges or
  // scores, ids, flags, chat_template).
  void write_metadata(Metadata& metadata, std::int64_t vocab_size) const;

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Bytes that are not UTF-8 are units of their own; for byte-level vocabularies decode(encode(x)) == x for every x.
  // Time n log n in the text, whatever the text. Error{kUnsupported} only when a pattern of the file runs out of its
  // limits.
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // The pieces as one text: no token boundary is forced between them, and a control token is recognised only where
  // every byte of it lies in `special` pieces. BOS is added as the flags say, unless the text begins with it already.
  std::vector<TokenId> encode_pieces(std::span<const TextPiece> pieces, bool add_special = true) const;
  // Bytes of one token; control tokens are empty unless `special`. Ids outside the vocabulary have no bytes.
  std::string piece(TokenId id, bool special = false) const;
  std::string decode(std::span<const TokenId> ids, bool special = false) const;

  std::int64_t vocab_size() const;
  std::optional<TokenId> bos() const;
  std::optional<TokenId> eos() const;
  bool add_bos() const;
  bool is_end_of_generation(TokenId id) const;
  std::optional<TokenId> find(std::string_view token_text) const;
  std::string chat_template() const;  // Jinja source from the file, or empty
  std::string bos_text() const;
  std::string eos_text() const;

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Joins token bytes into text that never ends inside a UTF-8 character: take() returns what is complete, flush() the
// rest with invalid bytes replaced by U+FFFD.
class Utf8Stream {
 public:
  std::string take(std::string_view bytes);
  std::string flush();

 private:
  std::string pending_;
};

}  // namespace dodeca::runtime
