// A vocabulary as files describe it, whatever the file: the plain data that Tokenizer is built from.
// Readers bound everything by the file's own size and check every id; they throw Error{kBadFile} or
// Error{kUnsupported}.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime {

enum class TokenType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

enum class VocabKind {
  kByteLevel,      // byte-level BPE: "gpt2" in GGUF
  kSentencePiece,  // characters with U+2581 for spaces and byte tokens: "llama" in GGUF
};

// How an added token of tokenizer.json matches; all false for GGUF.
struct AddedFlags {
  bool lstrip = false, rstrip = false;  // takes the white space before, after it
  bool single_word = false;             // only between characters that are not of words
};

// Tokens with a role, in the order in which converters write their ids.
enum class TokenRole {
  kBos,
  kEos,
  kUnk,
  kSep,
  kPad,
  kCls,
  kMask,
  kEot,
  kEom,
  kFimPre,
  kFimSuf,
  kFimMid,
  kFimPad,
  kFimRep,
  kFimSep
};
inline constexpr std::size_t kTokenRoles = 15;
std::string_view role_key(TokenRole role);  // "tokenizer.ggml.bos_token_id"

struct Vocab {
  VocabKind kind = VocabKind::kByteLevel;
  std::string pre;                    // tokenizer.ggml.pre; empty: `patterns` came from the file and has no name
  std::vector<std::string> patterns;  // byte-level only
  bool ignore_merges = false;
  bool prefix_space_to_words = false;  // ByteLevel's add_prefix_space: a text piece that has no leading space gets one
  bool add_space_prefix = false;       // SentencePiece's dummy prefix, before the text and after every special token
  bool prefix_only_at_start = false;   //   or at the very beginning only
  bool prefix_if_missing = false;      //   or only to a piece that does not begin with a space

  std::vector<std::string> tokens;  // as stored: byte-mapped, or with U+2581
  std::vector<TokenType> types;     // as many
  std::vector<float> scores;        // as many, or none
  // In order of rank; none: ranks are the ids of the merged tokens (tiktoken) or scores (SentencePiece).
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<std::pair<TokenId, AddedFlags>> added_flags;

  std::array<TokenId, kTokenRoles> roles = filled_with_none();  // kNone: not there
  std::vector<TokenId> more_ends;  // end of generation besides those that Tokenizer knows by text
  bool add_bos = false, add_eos = false;
  std::string chat_template;
  // GGUF: every tokenizer.* entry of the file, so that a rewrite loses nothing.
  std::vector<std::pair<std::string, MetaValue>> original;

  static constexpr TokenId kNone = -1;
  TokenId& role(TokenRole r) { return roles[static_cast<std::size_t>(r)]; }
  TokenId role(TokenRole r) const { return roles[static_cast<std::size_t>(r)]; }

 private:
  static constexpr std::array<TokenId, kTokenRoles> filled_with_none() {
    std::array<TokenId, kTokenRoles> out{};
    out.fill(kNone);
    return out;
  }
};

Vocab vocab_from_gguf(const Metadata& metadata);
Vocab vocab_from_tokenizer_json(const std::filesystem::path& directory);
Vocab vocab_from_tiktoken(const std::filesystem::path& directory);
void write_vocab(const Vocab& vocab, Metadata& metadata, std::int64_t vocab_size);

}  // namespace dodeca::runtime
