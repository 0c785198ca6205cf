// Byte-level byte-pair encoding. Everything works on raw bytes: token texts are taken back from the printable alphabet
// when the encoder is built. A symbol number is a token id, or beyond the vocabulary for strings that merges or single
// bytes need.
#include <array>
#include <bit>

#include "runtime/base/error.hpp"
#include "runtime/text/byte_map.hpp"
#include "runtime/text/merge.hpp"
#include "runtime/text/pretokenizer.hpp"
#include "runtime/text/string_table.hpp"
#include "runtime/text/word_encoder.hpp"

namespace dodeca::runtime {
namespace {

// (left symbol, right symbol) -> rank and merged symbol: open addressing, at most half full.
class PairTable {
 public:
  void reserve(std::size_t n) { slots_.assign(std::bit_ceil(2 * n + 2), Slot{}); }
  // The first of equal pairs stays.
  void insert(std::int32_t left, std::int32_t right, std::int32_t rank, std::int32_t merged) {
    Slot& slot = find_slot(key_of(left, right));
    if (slot.key == kEmpty) slot = {key_of(left, right), rank, merged};
  }
  std::optional<MergeCandidate> find(std::int32_t left, std::int32_t right) const {
    const Slot& slot = const_cast<PairTable*>(this)->find_slot(key_of(left, right));
    if (slot.key == kEmpty) return std::nullopt;
    return MergeCandidate{slot.rank, slot.merged};
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kEmpty;
    std::int32_t rank = 0, merged = 0;
  };
  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }
  Slot& find_slot(std::uint64_t key) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = (key * 0x9E3779B97F4A7C15u) >> 20 & mask;
    while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & mask;
    return slots_[i];
  }
  std::vector<Slot> slots_;
};

bool may_come_from_text(TokenType type) { return type != TokenType::kControl && type != TokenType::kUnknown; }

class BpeEncoder final : public WordEncoder {
 public:
  explicit BpeEncoder(const Vocab& vocab)
      : pretokenizer_(vocab.patterns),
        n_tokens_(static_cast<std::int32_t>(vocab.tokens.size())),
        ignore_merges_(vocab.ignore_merges),
        rank_by_id_(vocab.merges.empty()),
        prefix_space_(vocab.prefix_space_to_words) {
    symbols_.reserve(vocab.tokens.size() + 256);
    for (std::int32_t id = 0; id < n_tokens_; ++id) {
      if (!may_come_from_text(vocab.types[id])) continue;
      if (std::optional<std::string> bytes = mapped_to_bytes(vocab.tokens[id]); bytes && !bytes->empty()) {
        longest_ = std::max(longest_, bytes->size());
        symbols_.insert_or_assign(std::move(*bytes), id);
      }
    }
    for (int byte = 0; byte < 256; ++byte) byte_symbol_[byte] = intern(std::string(1, static_cast<char>(byte)));
    pairs_.reserve(vocab.merges.size());
    for (std::size_t rank = 0; rank < vocab.merges.size(); ++rank) {
      const auto left = mapped_to_bytes(vocab.merges[rank].first), right = mapped_to_bytes(vocab.merges[rank].second);
      if (!left || !right || left->empty() || right->empty()) continue;
      pairs_.insert(intern(*left), intern(*right), static_cast<std::int32_t>(rank), intern(*left + *right));
    }
  }

  void encode(std::string_view text, bool, std::vector<TokenId>& out) const override {
    std::string prefixed;
    if (prefix_space_ && !text.starts_with(' ')) {
      prefixed.reserve(text.size() + 1);
      prefixed.append(" ").append(text);
      text = prefixed;
    }
    std::vector<MergeSymbol> chain;
    for (const std::string_view word : pretokenizer_.split(text)) encode_word(word, chain, out);
  }

  // The symbols that a token's bytes become under ranks below its own; for derive_merges().
  void parts_below(std::string_view bytes, std::int32_t limit, std::vector<MergeSymbol>& chain) const {
    start_chain(bytes, chain);
    merge_symbols(chain, [&](const MergeSymbol& a, const MergeSymbol& b) {
      std::optional<MergeCandidate> found = by_id(bytes, a, b);
      if (found && found->id >= limit) found.reset();
      return found;
    });
  }

 private:
  std::int32_t intern(const std::string& bytes) {
    return symbols_.try_emplace(bytes, n_tokens_ + n_extra_).second ? n_tokens_ + n_extra_++
                                                                    : symbols_.find(bytes)->second;
  }

  void start_chain(std::string_view word, std::vector<MergeSymbol>& chain) const {
    chain.clear();
    for (std::size_t i = 0; i < word.size(); ++i) {
      push_symbol(chain, byte_symbol_[static_cast<unsigned char>(word[i])], i, i + 1);
    }
  }

  std::optional<MergeCandidate> by_id(std::string_view word, const MergeSymbol& left, const MergeSymbol& right) const {
    const std::size_t n = right.end - left.begin;
    if (n > longest_) return std::nullopt;
    const auto found = symbols_.find(word.substr(left.begin, n));
    if (found == symbols_.end() || found->second >= n_tokens_) return std::nullopt;
    return MergeCandidate{found->second, found->second};
  }

  void encode_word(std::string_view word, std::vector<MergeSymbol>& chain, std::vector<TokenId>& out) const {
    if (word.size() <= longest_ && (ignore_merges_ || rank_by_id_ || word.size() == 1)) {
      const auto found = symbols_.find(word);
      if (found != symbols_.end() && found->second < n_tokens_) {
        out.push_back(found->second);
        return;
      }
    }
    start_chain(word, chain);
    if (rank_by_id_) {
      merge_symbols(chain, [&](const MergeSymbol& a, const MergeSymbol& b) { return by_id(word, a, b); });
    } else {
      merge_symbols(chain, [&](const MergeSymbol& a, const MergeSymbol& b) { return pairs_.find(a.id, b.id); });
    }
    for (std::int32_t i = 0; i >= 0; i = chain[i].next) {
      if (chain[i].id < n_tokens_) {
        out.push_back(chain[i].id);
        continue;
      }
      // A merge result that is no token, or a byte that is none (nothing can be said of that one).
      for (std::uint32_t b = chain[i].begin; b < chain[i].end; ++b) {
        const std::int32_t id = byte_symbol_[static_cast<unsigned char>(word[b])];
        if (id < n_tokens_) out.push_back(id);
      }
    }
  }

  Pretokenizer pretokenizer_;
  std::int32_t n_tokens_, n_extra_ = 0;
  bool ignore_merges_, rank_by_id_, prefix_space_;
  std::size_t longest_ = 0;  // bytes of the longest token
  StringMap<std::int32_t> symbols_;
  std::array<std::int32_t, 256> byte_symbol_{};
  PairTable pairs_;
};

}  // namespace

std::unique_ptr<WordEncoder> make_bpe_encoder(const Vocab& vocab) { return std::make_unique<BpeEncoder>(vocab); }

std::vector<std::pair<std::string, std::string>> derive_merges(const Vocab& vocab) {
  const BpeEncoder encoder(vocab);
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<MergeSymbol> chain;
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (vocab.types[id] != TokenType::kNormal) continue;
    const std::optional<std::string> bytes = mapped_to_bytes(vocab.tokens[id]);
    if (!bytes || bytes->size() < 2) continue;
    encoder.parts_below(*bytes, static_cast<std::int32_t>(id), chain);
    const std::int32_t second = chain[0].next;
    if (second < 0 || chain[second].next >= 0) continue;  // not the merge of two
    const std::size_t cut = chain[second].begin;
    merges.emplace_back(bytes_to_mapped(std::string_view(*bytes).substr(0, cut)),
                        bytes_to_mapped(std::string_view(*bytes).substr(cut)));
  }
  return merges;
}

}  // namespace dodeca::runtime
