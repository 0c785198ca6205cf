#include "runtime/text/regex.hpp"

#include <doctest/doctest.h>

#include <ctime>
#include <string>

#include "runtime/base/error.hpp"

using namespace dodeca::runtime;

TEST_CASE("regular expressions are searched, as llama.cpp's --tensor-type searches them") {
  CHECK(Regex("ffn_(gate|up)_exps").found_in("blk.3.ffn_up_exps.weight"));
  CHECK_FALSE(Regex("ffn_(gate|up)_exps").found_in("blk.3.ffn_down_exps.weight"));
  CHECK(Regex("blk\\.[0-9]\\.ffn").found_in("blk.1.ffn_up.weight"));
  CHECK_FALSE(Regex("blk\\.[0-9]\\.ffn").found_in("blk.11.ffn_up.weight"));
  CHECK(Regex("^blk\\.(?:[0-9]|[1-5]\\d)\\..*(?<!_exps)\\.weight$").found_in("blk.57.attn_q.weight"));
  CHECK_FALSE(Regex("^attn").found_in("blk.57.attn_q.weight"));
  CHECK(Regex("\xff").found_in("a\xff"));  // bytes, whatever they are
  CHECK(Regex("blk.*ffn.*exps.*weight").found_in(std::string(4000, 'x') + "blk.ffn.exps.weight"));
  CHECK(Regex("").found_in(""));
  CHECK(Regex("a|b").pattern() == "a|b");
}

TEST_CASE("what is no regular expression is said with its pattern") {
  for (const char* pattern : {"a(", "[z-a]", "*", "(?<n", "(*UTF)a", "(*UCP)a", "\\", "(?<=a+)b"}) {
    CAPTURE(pattern);
    CHECK_THROWS_WITH_AS(Regex{pattern}, doctest::Contains("is no regular expression"), Error);
  }
  CHECK_THROWS_WITH_AS(Regex("a("), doctest::Contains("'a('"), Error);
  CHECK_THROWS_AS(Regex(std::string(1 << 20, 'a')), Error);
  CHECK_THROWS_AS(Regex("((((a{1,9999}){1,9999}){1,9999}){1,9999})"), Error);
  CHECK_THROWS_AS(Regex(std::string(5000, '(') + std::string(5000, ')')), Error);
}

TEST_CASE("patterns that would take for ever end soon") {
  const std::string letters(200, 'a');
  const std::clock_t begin = std::clock();
  for (const char* pattern :
       {"(a+)+$", "(a|a)*$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a?){60}a{60}$", "((?R)a|a)+$"}) {
    CAPTURE(pattern);
    CHECK_THROWS_WITH_AS(Regex(pattern).found_in(letters + "!"), doctest::Contains(pattern), Error);
  }
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 2);
  // The pattern cannot lift its limits.
  CHECK_THROWS_AS(Regex("(*LIMIT_MATCH=4000000000)(a+)+$").found_in(letters + "!"), Error);
}
