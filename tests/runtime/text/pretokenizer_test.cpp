// The split alone: against Python's `regex` for every family (for kimi-k2, gpt-4o and glm4 this is all that can be
// checked: their vocabularies are not to be had here), and its behaviour on hostile text.
#include "runtime/text/pretokenizer.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/base/error.hpp"
#include "runtime/text/utf8.hpp"

using namespace dodeca::runtime;

namespace {

std::vector<std::string> pieces_of(const Pretokenizer& pretokenizer, const std::string& text) {
  std::vector<std::string> out;
  for (const std::string_view piece : pretokenizer.split(text)) out.emplace_back(piece);
  return out;
}

Pretokenizer by_name(std::string_view name) { return Pretokenizer(find_pre(name).value().patterns); }

std::size_t n_characters(std::string_view text) {
  std::size_t n = 0;
  for (std::size_t pos = 0; pos < text.size(); pos += utf8::step_at(text, pos)) ++n;
  return n;
}

}  // namespace

TEST_CASE("pieces are those of Python's regex") {
  const auto golden = nlohmann::json::parse(std::ifstream(DODECA_SOURCE_DIR "/tests/golden/text/splits.json"));
  REQUIRE(golden["pieces"].size() >= 10);
  for (const auto& [name, cuts] : golden["pieces"].items()) {
    const Pretokenizer pretokenizer = by_name(name);
    for (std::size_t i = 0; i < cuts.size(); ++i) {
      const auto text = golden["texts"][i].get<std::string>();
      std::vector<std::size_t> got;
      for (const std::string_view piece : pretokenizer.split(text)) got.push_back(n_characters(piece));
      CHECK_MESSAGE(got == cuts[i].get<std::vector<std::size_t>>(), name, ": ", text);
    }
  }
}

TEST_CASE("glm4 and chatglm-bpe cut as llama-bpe does") {
  CHECK(find_pre("glm4")->patterns == find_pre("llama-bpe")->patterns);
  CHECK(find_pre("chatglm-bpe")->patterns == find_pre("llama-bpe")->patterns);
  CHECK(find_pre("glm4")->ignore_merges);
  CHECK_FALSE(find_pre("chatglm-bpe")->ignore_merges);
}

TEST_CASE("names: known ones compile, unknown ones are none, published patterns are recognised") {
  for (const std::string_view name : pre_names()) CHECK_NOTHROW(by_name(name));
  CHECK_FALSE(find_pre("no-such-name"));
  for (const std::string_view name :
       {"deepseek-v3", "deepseek-coder", "qwen2", "gpt-4o", "llama-bpe", "gpt-2", "smollm"}) {
    CHECK(recognise_pre(find_pre(name)->patterns) == name);
  }
  CHECK(recognise_pre(std::vector<std::string>{R"(\w+)"}).empty());
}

TEST_CASE("what PCRE2 means differently is rewritten") {
  CHECK(to_pcre2(R"(\p{Han}+)") == R"(\p{sc:Han}+)");
  CHECK(to_pcre2(R"([\p{L}\p{Nd}])") == R"([\p{L}\p{Nd}])");
  CHECK(to_pcre2(R"([\p{Lu}\p{M}&&[^\p{Han}]])") ==
        R"([^\p{sc:Han}\p{Ll}\p{Lt}\p{Lm}\p{Lo}\p{N}\p{P}\p{S}\p{Z}\p{C}])");
  CHECK(to_pcre2("[]a[]") == R"([]a\[])");
  CHECK(pieces_of(Pretokenizer(std::vector<std::string>{R"(\s+)"}), "a \u180e") ==
        std::vector<std::string>{"a", " ", "\u180e"});
  for (const char* bad :
       {"[a", "(", R"(\)", R"([a&&b])", R"([x&&[^y]])", R"(\p{L)", R"([\p{L}&&[^a)", "[&&", "[^", "["}) {
    CHECK_THROWS_AS(Pretokenizer(std::vector<std::string>{bad}), Error);
  }
}

TEST_CASE("bytes that are not UTF-8 are pieces of their own and nothing is lost") {
  const Pretokenizer pretokenizer = by_name("deepseek-v3");
  CHECK(pieces_of(pretokenizer,
                  "ab\xff"
                  "cd \xe4\xbd") == std::vector<std::string>{"ab", "\xff", "cd", " ", "\xe4", "\xbd"});
  CHECK(pieces_of(pretokenizer, "\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80").size() ==
        9);  // overlong, surrogate, above U+10FFFF
}

TEST_CASE("1 MB of hostile text takes seconds, whatever the family") {
#ifdef __SANITIZE_ADDRESS__
  constexpr std::size_t kBytes = 250'000;  // checked loads are slow, and bad ones show in short texts too
#else
  constexpr std::size_t kBytes = 1'000'000;
#endif
  const auto repeated = [](std::string_view unit) {
    std::string out;
    while (out.size() < kBytes) out += unit;
    return out;
  };
  std::vector<std::string> texts;
  for (const char* unit : {" ", "a", "A", "1", "!", "'", "\n", "\r\n", "\n ", "\t ", "Aa", "\u4e2d", "\u30a2\u4e2d",
                           "\u0301", "\xff", " 9"}) {
    texts.push_back(repeated(unit));
  }
  texts.push_back(std::string(kBytes, ' ') + "x");
  texts.push_back(std::string(kBytes, ' ') + "9");
  texts.push_back("9" + std::string(kBytes, '\t') + "\u3002");
  for (const char* name :
       {"deepseek-v3", "deepseek-llm", "deepseek-coder", "llama-bpe", "gpt-4o", "kimi-k2", "gpt-2", "default"}) {
    const Pretokenizer pretokenizer = by_name(name);
    for (const std::string& text : texts) {
      const auto begin = std::chrono::steady_clock::now();
      std::size_t bytes = 0;
      for (const std::string_view piece : pretokenizer.split(text)) bytes += piece.size();
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      CHECK(bytes == text.size());
      // Quadratic would be hours, or minutes with sanitizers; the margin is for sanitizers and busy machines.
      CHECK_MESSAGE(seconds < 20, name, ": ", seconds, " s");
    }
  }
}

TEST_CASE("a file's own pattern that explodes ends in an error") {
  const Pretokenizer pretokenizer(std::vector<std::string>{"(a|aa)+$"});
  CHECK_THROWS_AS(pretokenizer.split(std::string(5000, 'a') + "b"), Error);
}

TEST_CASE("a file's own pattern that looks at the whole text for every piece ends in an error") {
  const Pretokenizer pretokenizer(std::vector<std::string>{"a(?=[^x]*$)"});
  const std::clock_t begin = std::clock();
  CHECK_THROWS_WITH_AS(pretokenizer.split(std::string(150'000, 'a')), doctest::Contains("processor time"), Error);
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 15);
}

TEST_CASE("patterns have a length and a number") {
  CHECK_THROWS_WITH_AS(Pretokenizer(std::vector<std::string>{std::string(20'000, 'a')}), doctest::Contains("20000"),
                       Error);
  CHECK_THROWS_WITH_AS(Pretokenizer(std::vector<std::string>(65, "a")), doctest::Contains("65 patterns"), Error);
}
