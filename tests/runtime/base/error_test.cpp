#include "runtime/base/error.hpp"

#include <doctest/doctest.h>

#include "runtime/base/printable.hpp"

using namespace dodeca::runtime;

TEST_CASE("an error reads as kind, sentence and context in the order added") {
  Error error(ErrorKind::kBadFile, "tensor data ends past end of file");
  CHECK(std::string(error.what()) == "bad file: tensor data ends past end of file");
  error.with("tensor", "blk.7").with("ends_at", 48);
  CHECK(std::string(error.what()) == "bad file: tensor data ends past end of file [tensor=blk.7 ends_at=48]");
  CHECK(error.kind() == ErrorKind::kBadFile);
  CHECK(error.sentence() == "tensor data ends past end of file");
}

TEST_CASE("context added while it is thrown and on the way up is kept") {
  try {
    try {
      throw Error(ErrorKind::kDoesNotFit, "too big").with("need", 2);
    } catch (Error& error) {
      throw error.with("where", "here");
    }
  } catch (const Error& error) {
    CHECK(std::string(error.what()) == "does not fit: too big [need=2 where=here]");
  }
}

TEST_CASE("hostile text in an error cannot drive a terminal") {
  const Error error = Error(ErrorKind::kBadFile, "name \x1b[2J").with("key", "a\nb\xff");
  CHECK(std::string(error.what()) == "bad file: name \\x1B[2J [key=a\\x0Ab\\xFF]");
}

TEST_CASE("printable keeps valid UTF-8 and escapes everything else") {
  CHECK(printable("plain") == "plain");
  CHECK(printable("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80") == "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(printable("\xc3") == "\\xC3");                             // cut off
  CHECK(printable("\xc0\xaf") == "\\xC0\\xAF");                    // overlong
  CHECK(printable("\xed\xa0\x80") == "\\xED\\xA0\\x80");           // surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "\\xF4\\x90\\x80\\x80");  // above U+10FFFF
  CHECK(printable("\xc2\x9b") == "\\xC2\\x9B");                    // C1 control: an escape sequence on some terminals
  CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
  CHECK(printable("a\nb", 99, "\n") == "a\nb");
  CHECK(printable("abcdef", 3) == "abc...");
  CHECK(printable("abc", 3) == "abc");
}
