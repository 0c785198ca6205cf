// Cuts text at special tokens: longest tokens first, leftmost among equals, as if every token in turn had been searched
// in what the longer ones left. Time linear in the text times the longest token's length at most; thousands of tokens
// cost nothing more.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "runtime/text/vocab.hpp"

namespace dodeca::runtime {

class SpecialTokens {
 public:
  // Control, unknown and user-defined tokens of the vocabulary.
  explicit SpecialTokens(const Vocab& vocab);

  struct Found {
    std::size_t begin, end;  // bytes of the text, the white space that the token takes included
    TokenId token;
  };
  // In text order, without overlaps. trusted[i] != 0: byte i may be part of a control or unknown token; user-defined
  // tokens match everywhere. Empty `trusted`: `all_trusted` holds for every byte.
  std::vector<Found> find(std::string_view text, std::string_view trusted, bool all_trusted) const;

 private:
  struct Node {
    std::int32_t first_child = -1, sibling = -1;
    TokenId token = Vocab::kNone;
    unsigned char byte = 0;
  };
  struct Match {
    TokenId token = Vocab::kNone;
    std::size_t length = 0;
  };
  std::int32_t child(std::int32_t node, unsigned char byte) const;
  Match longest_at(std::string_view text, std::size_t begin, std::size_t end, std::string_view trusted,
                   bool all_trusted) const;
  bool fits(std::string_view text, std::size_t begin, std::size_t end, TokenId token) const;

  std::vector<Node> nodes_;
  std::vector<std::int32_t> roots_;  // [256], by first byte
  std::vector<AddedFlags> flags_;    // by token id, or empty
  std::vector<bool> user_defined_;   // by token id
};

}  // namespace dodeca::runtime
