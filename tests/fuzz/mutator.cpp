#include "tests/fuzz/mutator.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <set>
#include <string>

namespace dodeca::tests {
namespace {

constexpr std::uint64_t kEdges[] = {0,          1,          2,          0x7F,       0x80,       0xFF,
                                    0xFFFF,     0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ull << 32, 1ull << 61,
                                    1ull << 62, ~0ull >> 1, 1ull << 63, ~0ull,      ~0ull - 31, 9};

constexpr std::string_view kEdgeWords[] = {"0",
                                           "-1",
                                           "1e999",
                                           "-0.0",
                                           "4294967296",
                                           "9223372036854775807",
                                           "-9223372036854775808",
                                           "18446744073709551615",
                                           "1e-400",
                                           "null",
                                           "true",
                                           "\"\"",
                                           "[]",
                                           "{}",
                                           "\\ud800",
                                           "\\u0000",
                                           "\xff",
                                           "\xf0\x9f\x9a\x80",
                                           "\n",
                                           std::string_view("\0", 1)};

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.'; }

// The run of letters and digits at `at`, or the one byte that is none.
std::pair<std::size_t, std::size_t> word_at(const std::string& bytes, std::size_t at) {
  std::size_t begin = at, end = at + 1;
  if (!in_word(bytes[at])) return {begin, end};
  while (begin > 0 && in_word(bytes[begin - 1])) --begin;
  while (end < bytes.size() && in_word(bytes[end])) ++end;
  return {begin, end};
}

// Behind the bracket that closes the one at `at`; npos when it is no bracket or stays open.
std::size_t bracket_end(const std::string& bytes, std::size_t at) {
  static constexpr std::string_view kOpen = "([{", kClose = ")]}";
  if (kOpen.find(bytes[at]) == std::string_view::npos) return std::string::npos;
  int depth = 0;
  for (std::size_t i = at; i < bytes.size(); ++i) {
    if (kOpen.find(bytes[i]) != std::string_view::npos) ++depth;
    if (kClose.find(bytes[i]) != std::string_view::npos && --depth == 0) return i + 1;
  }
  return std::string::npos;
}

std::string_view little_endian(const std::uint64_t& value, std::size_t width) {
  return {reinterpret_cast<const char*>(&value), width};
}

}  // namespace

Mutator::Mutator(std::vector<std::string> seeds, std::size_t max_bytes)
    : seeds_(std::move(seeds)), max_bytes_(max_bytes) {
  if (seeds_.empty()) seeds_.emplace_back();
  std::set<std::string> words(std::begin(kEdgeWords), std::end(kEdgeWords));
  for (const std::string& seed : seeds_) {
    max_bytes_ = std::max(max_bytes_, 2 * seed.size());
    for (std::size_t at = 0; at < seed.size();) {
      const auto [begin, end] = word_at(seed, at);
      words.insert(seed.substr(begin, end - begin));
      at = end;
    }
  }
  words_.assign(words.begin(), words.end());
}

std::string Mutator::input(std::uint64_t number) {
  return number < seeds_.size() ? seeds_[number] : mutated(seeds_[number % seeds_.size()], number);
}

std::string Mutator::mutated(std::string bytes, std::uint64_t number) {
  random_.seed(number);
  for (std::size_t n = std::size_t{1} << below(4); n > 0; --n) {
    switch (below(4)) {
      case 0:
        change_bytes(bytes);
        break;
      case 1:
        change_length(bytes);
        break;
      case 2:
        move_pieces(bytes);
        break;
      default:
        change_words(bytes);
    }
    if (bytes.size() > max_bytes_) bytes.resize(max_bytes_);
  }
  return bytes;
}

void Mutator::change_bytes(std::string& bytes) {
  if (bytes.empty()) return;
  const std::size_t at = below(bytes.size());
  switch (below(3)) {
    case 0:
      bytes[at] = static_cast<char>(random_());
      break;
    case 1:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      break;
    default: {
      const std::size_t width = std::size_t{1} << below(4);
      const std::uint64_t edge = kEdges[below(std::size(kEdges))];
      if (at + width <= bytes.size()) bytes.replace(at, width, little_endian(edge, width));
    }
  }
}

// Looks for an integer that may be the length of what follows it, and changes it: alone, or with what it counts.
void Mutator::change_length(std::string& bytes) {
  const std::size_t width = below(2) == 0 ? 4 : 8;
  if (bytes.size() < width) return;
  const std::size_t start = below(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t at = (start + i) % bytes.size();
    if (at + width > bytes.size()) continue;
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at, width);
    const std::size_t behind = at + width;
    if (length == 0 || length > bytes.size() - behind) continue;
    const std::uint64_t changed = below(3) == 0   ? length + 1 - 2 * below(2)
                                  : below(2) == 0 ? below(static_cast<std::size_t>(2 * length + 1))
                                                  : bytes.size() - behind + 1 - 2 * below(2);
    if (below(2) == 0) {
      const std::string counted = bytes.substr(behind, static_cast<std::size_t>(length));
      std::string filled;
      while (filled.size() < changed && filled.size() < max_bytes_) filled += counted;
      filled.resize(static_cast<std::size_t>(std::min<std::uint64_t>(changed, filled.size())));
      bytes.replace(behind, counted.size(), filled);
    }
    bytes.replace(at, width, little_endian(changed, width));
    return;
  }
}

void Mutator::move_pieces(std::string& bytes) {
  const std::size_t at = below(bytes.size());
  switch (below(6)) {
    case 0:
      bytes.resize(at);
      break;
    case 1:
      bytes.erase(at, 1 + below(16));
      break;
    case 2:
      bytes.insert(at, std::string(1 + below(16), static_cast<char>(random_())));
      break;
    case 3:
      bytes.insert(at, bytes.substr(below(bytes.size()), below(64)));
      break;
    case 4: {  // many times: what is not linear shows
      const std::string piece = bytes.substr(at, 1 + below(24));
      std::string many;
      for (std::size_t n = std::size_t{1} << below(12); n > 0 && many.size() < max_bytes_; --n) many += piece;
      bytes.insert(at, many);
      break;
    }
    default: {
      const std::string& other = seeds_[below(seeds_.size())];
      bytes = bytes.substr(0, at) + other.substr(below(other.size()));
    }
  }
}

void Mutator::change_words(std::string& bytes) {
  if (bytes.empty()) return;
  const std::size_t at = below(bytes.size());
  const std::string& word = words_[below(words_.size())];
  const auto [begin, end] = word_at(bytes, at);
  switch (below(4)) {
    case 0:
      bytes.replace(begin, end - begin, word);
      break;
    case 1:
      bytes.insert(begin, word);
      break;
    default:  // a bracketed piece: taken out, repeated, wrapped or replaced
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        const std::size_t from = (at + i) % bytes.size(), to = bracket_end(bytes, from);
        if (to == std::string::npos) continue;
        const std::string piece = bytes.substr(from, to - from);
        const std::string choices[] = {"", piece + piece, fmt::format("{},{}", piece, piece),
                                       fmt::format("[{}]", piece), word};
        bytes.replace(from, piece.size(), choices[below(std::size(choices))]);
        return;
      }
  }
}

}  // namespace dodeca::tests
