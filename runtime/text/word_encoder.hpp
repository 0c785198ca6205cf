// Text without special tokens -> ids: the two tokenizer kinds behind one call. Immutable and thread-safe after
// construction.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "runtime/text/vocab.hpp"

namespace dodeca::runtime {

class WordEncoder {
 public:
  virtual ~WordEncoder() = default;
  // Appends the ids of `text`. `first`: the text begins the input or follows a special token.
  virtual void encode(std::string_view text, bool first, std::vector<TokenId>& out) const = 0;
};

std::unique_ptr<WordEncoder> make_bpe_encoder(const Vocab& vocab);
std::unique_ptr<WordEncoder> make_sentencepiece_encoder(const Vocab& vocab);

// Merges that lead to each token of a vocabulary that has none, ranks being ids: "left right" pairs in order of rank,
// as converters derive them from tiktoken files.
std::vector<std::pair<std::string, std::string>> derive_merges(const Vocab& vocab);

}  // namespace dodeca::runtime
