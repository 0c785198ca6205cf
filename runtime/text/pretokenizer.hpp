// The split of text into words before byte-pair merging: a list of patterns, each applied to every piece that the ones
// before left; matches become pieces and the text between them stays as pieces. Nothing is lost: the pieces joined are
// the text. Bytes that are not UTF-8 are pieces of one byte. Immutable and thread-safe after construction.
//
// Patterns are written as tokenizer.json files have them and rewritten where PCRE2 means something else (to_pcre2).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dodeca::runtime {

class Pretokenizer {
 public:
  // Error{kUnsupported} naming the pattern and what PCRE2 says of it.
  explicit Pretokenizer(std::span<const std::string> patterns);
  Pretokenizer(Pretokenizer&&) noexcept;
  ~Pretokenizer();

  // Views into text, in order. Error{kUnsupported} when a pattern runs out of its match or memory limits.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One tokenizer.ggml.pre value.
struct PreInfo {
  std::string_view name;
  std::vector<std::string> patterns;
  bool ignore_merges = false;  // a word that is a token needs no merges
  bool add_bos = false;        // default when the file has no flag
};
// nullopt for a name that is not known.
std::optional<PreInfo> find_pre(std::string_view name);
std::vector<std::string_view> pre_names();
// The name whose patterns, as published tokenizer.json files write them, are these; empty when there is none.
std::string_view recognise_pre(std::span<const std::string> patterns);

// Exposed for tests. Error{kUnsupported} for what cannot be expressed.
std::string to_pcre2(std::string_view pattern);

}  // namespace dodeca::runtime
