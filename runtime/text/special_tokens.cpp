#include "runtime/text/special_tokens.hpp"

#include <algorithm>
#include <map>

#include "runtime/base/error.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime {
namespace {

bool is_word_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || byte == '_' || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= 'a' && byte <= 'z');
}

// The white-space character that ends at `end`, in bytes; 0 when there is none.
std::size_t space_before(std::string_view text, std::size_t begin, std::size_t end) {
  for (std::size_t n = 1; n <= 3 && begin + n <= end; ++n) {
    if (utf8::length_at(text, end - n) == n) return utf8::is_space(utf8::code_point(text, end - n, n)) ? n : 0;
  }
  return 0;
}

constexpr std::size_t kMaxSpecialBytes = 1024;  // a text may begin with one at every byte

}  // namespace

SpecialTokens::SpecialTokens(const Vocab& vocab) : roots_(256, -1), user_defined_(vocab.tokens.size()) {
  if (!vocab.added_flags.empty()) flags_.resize(vocab.tokens.size());
  for (const auto& [token, flags] : vocab.added_flags) flags_[token] = flags;
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    const TokenType type = vocab.types[id];
    if (type != TokenType::kControl && type != TokenType::kUnknown && type != TokenType::kUserDefined) continue;
    user_defined_[id] = type == TokenType::kUserDefined;
    const std::string& text = vocab.tokens[id];
    if (text.empty()) continue;
    if (text.size() > kMaxSpecialBytes) {
      throw Error(ErrorKind::kBadFile, fmt::format("special token {} has {} bytes; at most {} are allowed", id,
                                                   text.size(), kMaxSpecialBytes));
    }
    std::int32_t node = -1;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      std::int32_t next = node < 0 ? roots_[byte] : child(node, byte);
      if (next < 0) {
        next = static_cast<std::int32_t>(nodes_.size());
        nodes_.push_back({-1, node < 0 ? -1 : nodes_[node].first_child, Vocab::kNone, byte});
        (node < 0 ? roots_[byte] : nodes_[node].first_child) = next;
      }
      node = next;
    }
    nodes_[node].token = static_cast<TokenId>(id);
  }
}

std::int32_t SpecialTokens::child(std::int32_t node, unsigned char byte) const {
  std::int32_t next = nodes_[node].first_child;
  while (next >= 0 && nodes_[next].byte != byte) next = nodes_[next].sibling;
  return next;
}

bool SpecialTokens::fits(std::string_view text, std::size_t begin, std::size_t end, TokenId token) const {
  if (flags_.empty() || !flags_[token].single_word) return true;
  return (begin == 0 || !is_word_byte(text[begin - 1])) && (end == text.size() || !is_word_byte(text[end]));
}

// The longest token that may begin at `begin` and ends at `end` or before.
SpecialTokens::Match SpecialTokens::longest_at(std::string_view text, std::size_t begin, std::size_t end,
                                               std::string_view trusted, bool all_trusted) const {
  Match match;
  bool may_be_control = true;
  std::int32_t node = -1;
  for (std::size_t pos = begin; pos < end; ++pos) {
    const auto byte = static_cast<unsigned char>(text[pos]);
    node = node < 0 ? roots_[byte] : child(node, byte);
    if (node < 0) break;
    may_be_control = may_be_control && (trusted.empty() ? all_trusted : trusted[pos] != 0);
    const TokenId token = nodes_[node].token;
    if (token == Vocab::kNone || !(may_be_control || user_defined_[token]) || !fits(text, begin, pos + 1, token))
      continue;
    match = {token, pos + 1 - begin};
  }
  return match;
}

std::vector<SpecialTokens::Found> SpecialTokens::find(std::string_view text, std::string_view trusted,
                                                      bool all_trusted) const {
  if (nodes_.empty()) return {};
  struct Start {
    std::size_t begin;
    TokenId token;
  };
  // Every start with the longest token there, by length. A start that turns out to run into a taken stretch comes back
  // with the longest token that still fits.
  std::map<std::size_t, std::vector<Start>, std::greater<>> by_length;
  for (std::size_t pos = 0; pos < text.size(); ++pos) {
    if (roots_[static_cast<unsigned char>(text[pos])] < 0) continue;
    const Match match = longest_at(text, pos, text.size(), trusted, all_trusted);
    if (match.length > 0) by_length[match.length].push_back({pos, match.token});
  }
  std::vector<Found> found;
  if (by_length.empty()) return found;
  std::vector<bool> taken(text.size());
  while (!by_length.empty()) {
    const std::size_t length = by_length.begin()->first;
    std::vector<Start> starts = std::move(by_length.begin()->second);
    by_length.erase(by_length.begin());
    std::sort(starts.begin(), starts.end(), [](const Start& a, const Start& b) { return a.begin < b.begin; });
    for (const Start& start : starts) {
      // What is taken so far is no shorter than this, so an overlap covers the first byte or the last.
      if (taken[start.begin]) continue;
      std::size_t end = start.begin + length;
      if (!taken[end - 1]) {
        std::fill(taken.begin() + static_cast<std::ptrdiff_t>(start.begin),
                  taken.begin() + static_cast<std::ptrdiff_t>(end), true);
        found.push_back({start.begin, end, start.token});
        continue;
      }
      while (taken[end - 1]) --end;
      const Match shorter = longest_at(text, start.begin, end, trusted, all_trusted);
      if (shorter.length > 0) by_length[shorter.length].push_back({start.begin, shorter.token});
    }
  }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.begin < b.begin; });
  if (flags_.empty()) return found;
  for (std::size_t i = 0; i < found.size(); ++i) {
    Found& f = found[i];
    const AddedFlags& flags = flags_[f.token];
    const std::size_t left_end = i == 0 ? 0 : found[i - 1].end;
    const std::size_t right_end = i + 1 == found.size() ? text.size() : found[i + 1].begin;
    if (flags.lstrip) {
      while (const std::size_t n = space_before(text, left_end, f.begin)) f.begin -= n;
    }
    if (flags.rstrip) {
      while (f.end < right_end) {
        const std::size_t n = utf8::length_at(text, f.end);
        if (n == 0 || !utf8::is_space(utf8::code_point(text, f.end, n))) break;
        f.end += n;
      }
    }
  }
  return found;
}

}  // namespace dodeca::runtime
