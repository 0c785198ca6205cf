#include "runtime/engine/stop_matcher.hpp"

#include <doctest/doctest.h>

#include <random>

namespace {

using dodeca::runtime::engine::StopMatcher;

TEST_CASE("nothing of a stop text is ever released") {
  StopMatcher matcher({"\n\nUser:", "END"});
  CHECK(matcher.push("Hello") == "Hello");
  CHECK(matcher.push(" there\n") == " there");
  CHECK(matcher.push("\nUs") == "");
  CHECK(matcher.push("ually") == "\n\nUsually");
  CHECK(matcher.push(" E") == " ");
  CHECK(matcher.push("N") == "");
  CHECK(matcher.push("D. More") == "");
  CHECK(matcher.stopped());
  CHECK(matcher.flush() == "");
}

TEST_CASE("what was held back comes out at another end") {
  StopMatcher matcher({"abc"});
  CHECK(matcher.push("xab") == "x");
  CHECK(matcher.flush() == "ab");
  CHECK_FALSE(matcher.stopped());
}

TEST_CASE("the first to complete wins, the earliest of those that complete together") {
  StopMatcher matcher({"abcd", "bc"});
  CHECK(matcher.push("ab") == "");
  CHECK(matcher.push("c") == "a");
  CHECK(matcher.stopped());
  StopMatcher both({"bc", "abc"});
  CHECK(both.push("xabc") == "x");
  StopMatcher none({""});
  CHECK(none.push("anything") == "anything");
  CHECK_FALSE(none.stopped());
}

TEST_CASE("any cutting of a text into pieces gives the same result") {
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 24; ++i) text += static_cast<char>('a' + random() % 2);
    const std::vector<std::string> stops = {"abab", "bbb"};
    std::string whole, cut;
    StopMatcher one(stops), many(stops);
    for (const char c : text)
      if (!one.stopped()) whole += one.push(std::string_view(&c, 1));
    if (!one.stopped()) whole += one.flush();
    const std::size_t end = std::min(text.find("abab"), text.find("bbb"));
    CHECK(one.stopped() == (end != std::string::npos));
    for (std::size_t at = 0; at < text.size() && !many.stopped();) {
      const std::size_t n = 1 + random() % 3;
      cut += many.push(std::string_view(text).substr(at, n));
      at += n;
    }
    if (!many.stopped()) cut += many.flush();
    CHECK(whole.find("abab") == std::string::npos);
    CHECK(whole.find("bbb") == std::string::npos);
    // Pieces may complete both stop texts at once; the earlier start then wins, which is never later.
    CHECK(whole.starts_with(cut));
    if (!one.stopped()) CHECK(cut == text);
  }
}

}  // namespace
