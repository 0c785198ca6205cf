#include "runtime/text/special_tokens.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace dodeca::runtime;

namespace {

Vocab vocab_of(const std::vector<std::pair<std::string, TokenType>>& tokens) {
  Vocab vocab;
  for (const auto& [text, type] : tokens) {
    vocab.tokens.push_back(text);
    vocab.types.push_back(type);
  }
  return vocab;
}

// "begin-end=token" of each, for reading.
std::string found_in(const Vocab& vocab, std::string_view text, bool trusted = true, std::string_view mask = {}) {
  std::string out;
  for (const auto& f : SpecialTokens(vocab).find(text, mask, trusted)) {
    out += (out.empty() ? "" : " ") + std::to_string(f.begin) + "-" + std::to_string(f.end) + "=" +
           vocab.tokens[static_cast<std::size_t>(f.token)];
  }
  return out;
}

// The definition: every token in turn, longest first, searched in what is left.
std::vector<std::pair<std::size_t, std::size_t>> by_definition(const Vocab& vocab, const std::string& text) {
  std::vector<std::string> tokens = vocab.tokens;
  std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  std::vector<bool> taken(text.size());
  std::vector<std::pair<std::size_t, std::size_t>> found;
  for (std::size_t length = tokens[0].size(); length > 0; --length) {
    for (std::size_t pos = 0; pos + length <= text.size(); ++pos) {
      const bool is_token = std::find(tokens.begin(), tokens.end(), text.substr(pos, length)) != tokens.end();
      if (!is_token ||
          std::find(taken.begin() + static_cast<long>(pos), taken.begin() + static_cast<long>(pos + length), true) !=
              taken.begin() + static_cast<long>(pos + length))
        continue;
      std::fill(taken.begin() + static_cast<long>(pos), taken.begin() + static_cast<long>(pos + length), true);
      found.emplace_back(pos, pos + length);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

TEST_CASE("longest first, then leftmost") {
  const Vocab vocab = vocab_of({{"ab", TokenType::kControl}, {"bcd", TokenType::kControl}, {"c", TokenType::kControl}});
  CHECK(found_in(vocab, "abcd") == "1-4=bcd");  // not "ab": the longer token goes first
  CHECK(found_in(vocab, "abc") == "0-2=ab 2-3=c");
  CHECK(found_in(vocab, "xx") == "");
  CHECK(found_in(vocab_of({{"aa", TokenType::kControl}}), "aaa") == "0-2=aa");
}

TEST_CASE("without trust only user-defined tokens match") {
  const Vocab vocab = vocab_of({{"<s>", TokenType::kControl},
                                {"<t>", TokenType::kUserDefined},
                                {"<u>", TokenType::kUnknown},
                                {"<n>", TokenType::kNormal}});
  CHECK(found_in(vocab, "<s><t><u><n>") == "0-3=<s> 3-6=<t> 6-9=<u>");
  CHECK(found_in(vocab, "<s><t><u><n>", false) == "3-6=<t>");
  // One untrusted byte is enough.
  CHECK(found_in(vocab, "<s><s>", true, std::string_view("\1\1\1\1\0\1", 6)) == "0-3=<s>");
}

TEST_CASE("added-token flags") {
  Vocab vocab = vocab_of({{"<m>", TokenType::kControl}, {"cat", TokenType::kUserDefined}});
  vocab.added_flags = {{0, {.lstrip = true, .rstrip = true, .single_word = false}},
                       {1, {.lstrip = false, .rstrip = false, .single_word = true}}};
  CHECK(found_in(vocab, "a \u3000<m>\n b<m>") == "1-10=<m> 11-14=<m>");
  CHECK(found_in(vocab, "cat concat cat's cats") == "0-3=cat 11-14=cat");
}

TEST_CASE("random vocabularies agree with the definition") {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::pair<std::string, TokenType>> tokens;
    for (int i = 0; i < 6; ++i) {
      std::string text;
      for (std::uint32_t n = 1 + random() % 4; n > 0; --n) text += static_cast<char>('a' + random() % 2);
      tokens.emplace_back(text, TokenType::kControl);
    }
    const Vocab vocab = vocab_of(tokens);
    std::string text;
    for (int i = 0; i < 30; ++i) text += static_cast<char>('a' + random() % 3);
    std::vector<std::pair<std::size_t, std::size_t>> got;
    for (const auto& f : SpecialTokens(vocab).find(text, {}, true)) got.emplace_back(f.begin, f.end);
    CHECK_MESSAGE(got == by_definition(vocab, text), text);
  }
}

TEST_CASE("thousands of tokens and runs of them stay linear") {
  std::vector<std::pair<std::string, TokenType>> tokens;
  for (int n = 2; n <= 31; ++n)
    tokens.emplace_back(std::string(static_cast<std::size_t>(n), ' '), TokenType::kUserDefined);
  for (int i = 0; i < 5000; ++i) tokens.emplace_back("<|reserved_" + std::to_string(i) + "|>", TokenType::kControl);
  const SpecialTokens special(vocab_of(tokens));
  CHECK(special.find(std::string(1'000'000, ' '), {}, true).size() == 1'000'000 / 31 + 1);
  std::string text;
  while (text.size() < 1'000'000) text += "<|reserved_12";
  CHECK(special.find(text, {}, true).empty());
}
