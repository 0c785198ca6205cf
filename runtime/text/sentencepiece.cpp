// SentencePiece-style encoding: spaces become U+2581, characters merge by score (GGUF) or by rank of a merge list
// (tokenizer.json of the same models), what is no token goes out as byte tokens.
#include <array>
#include <bit>
#include <limits>

#include "runtime/base/error.hpp"
#include "runtime/text/byte_map.hpp"
#include "runtime/text/merge.hpp"
#include "runtime/text/string_table.hpp"
#include "runtime/text/utf8.hpp"
#include "runtime/text/word_encoder.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";

// Order-preserving: higher scores give lower keys; NaN goes last.
std::int64_t key_of(float score) {
  if (score != score) return std::numeric_limits<std::int64_t>::max();
  const auto bits = std::bit_cast<std::int32_t>(score == 0.0f ? 0.0f : score);
  const std::int64_t ordered = bits >= 0 ? bits : -static_cast<std::int64_t>(bits & 0x7FFFFFFF);
  return -ordered;
}

class SentencePieceEncoder final : public WordEncoder {
 public:
  explicit SentencePieceEncoder(const Vocab& vocab)
      : scores_(vocab.scores),
        space_prefix_(vocab.add_space_prefix),
        prefix_if_missing_(vocab.prefix_if_missing),
        unknown_(vocab.role(TokenRole::kUnk)) {
    byte_token_.fill(Vocab::kNone);
    const auto n_tokens = static_cast<std::int32_t>(vocab.tokens.size());
    scores_.resize(vocab.tokens.size(), 0.0f);
    tokens_.reserve(vocab.tokens.size());
    for (std::int32_t id = 0; id < n_tokens; ++id) {
      const std::string& text = vocab.tokens[id];
      if (vocab.types[id] == TokenType::kByte) {
        if (const int byte = byte_of_token(text); byte >= 0) byte_token_[byte] = id;
      } else if (vocab.types[id] != TokenType::kControl && vocab.types[id] != TokenType::kUnknown && !text.empty()) {
        longest_ = std::max(longest_, text.size());
        tokens_.insert_or_assign(text, id);
      }
    }
    for (std::size_t rank = 0; rank < vocab.merges.size(); ++rank) {
      const auto left = tokens_.find(vocab.merges[rank].first), right = tokens_.find(vocab.merges[rank].second);
      const auto merged = tokens_.find(vocab.merges[rank].first + vocab.merges[rank].second);
      if (left == tokens_.end() || right == tokens_.end() || merged == tokens_.end()) continue;
      pairs_.try_emplace(pair_key(left->second, right->second),
                         MergeCandidate{static_cast<std::int64_t>(rank), merged->second});
    }
    by_rank_ = !vocab.merges.empty();
  }

  void encode(std::string_view text, bool first, std::vector<TokenId>& out) const override {
    std::string marked;
    marked.reserve(text.size() + text.size() / 4 + kSpaceMark.size());
    const bool has_one = prefix_if_missing_ && (text.starts_with(' ') || text.starts_with(kSpaceMark));
    if (space_prefix_ && first && !has_one) marked += kSpaceMark;
    for (const char c : text) {
      if (c == ' ') {
        marked += kSpaceMark;
      } else {
        marked += c;
      }
    }
    std::vector<MergeSymbol> chain;
    for (std::size_t pos = 0; pos < marked.size();) {
      const std::size_t n = utf8::step_at(marked, pos);
      const auto found = tokens_.find(std::string_view(marked).substr(pos, n));
      push_symbol(chain, found == tokens_.end() ? Vocab::kNone : found->second, pos, pos + n);
      pos += n;
    }
    if (by_rank_) {
      merge_symbols(chain, [&](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<MergeCandidate> {
        const auto found = pairs_.find(pair_key(left.id, right.id));
        if (found == pairs_.end()) return std::nullopt;
        return found->second;
      });
    } else {
      merge_symbols(chain, [&](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<MergeCandidate> {
        const std::size_t n = right.end - left.begin;
        if (n > longest_) return std::nullopt;
        const auto found = tokens_.find(std::string_view(marked).substr(left.begin, n));
        if (found == tokens_.end()) return std::nullopt;
        return MergeCandidate{key_of(scores_[found->second]), found->second};
      });
    }
    for (std::int32_t i = chain.empty() ? -1 : 0; i >= 0; i = chain[i].next) {
      if (chain[i].id != Vocab::kNone) {
        out.push_back(chain[i].id);
      } else {
        push_bytes(std::string_view(marked).substr(chain[i].begin, chain[i].end - chain[i].begin), out);
      }
    }
  }

 private:
  static std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }

  // A character without a token: its bytes, or one unknown token when the vocabulary lacks one of them.
  void push_bytes(std::string_view bytes, std::vector<TokenId>& out) const {
    for (const char byte : bytes) {
      if (byte_token_[static_cast<unsigned char>(byte)] != Vocab::kNone) continue;
      if (unknown_ != Vocab::kNone) out.push_back(unknown_);
      return;
    }
    for (const char byte : bytes) out.push_back(byte_token_[static_cast<unsigned char>(byte)]);
  }

  std::vector<float> scores_;
  bool space_prefix_, prefix_if_missing_, by_rank_ = false;
  TokenId unknown_;
  std::size_t longest_ = 0;  // bytes of the longest token
  StringMap<TokenId> tokens_;
  std::array<TokenId, 256> byte_token_{};
  std::unordered_map<std::uint64_t, MergeCandidate> pairs_;
};

}  // namespace

std::unique_ptr<WordEncoder> make_sentencepiece_encoder(const Vocab& vocab) {
  return std::make_unique<SentencePieceEncoder>(vocab);
}

}  // namespace dodeca::runtime
