#include "runtime/base/text_encoding.hpp"

#include <doctest/doctest.h>

#include <string>

#include "runtime/base/error.hpp"

namespace {

using namespace dodeca::runtime;

// ASCII as characters of `width` bytes.
std::string widened(std::string_view text, std::size_t width, bool big_endian) {
  std::string out;
  for (const char c : text) {
    std::string unit(width, '\0');
    unit[big_endian ? width - 1 : 0] = c;
    out += unit;
  }
  return out;
}

TEST_CASE("UTF-16 and UTF-32 are known by their marks and by their zero bytes") {
  const std::string_view text = "{\"custom_id\": \"a\"}\r\n";
  for (const bool big_endian : {false, true}) {
    const std::string order = big_endian ? "(big-endian)" : "(little-endian)";
    CHECK(foreign_encoding(widened(text, 2, big_endian)) == "UTF-16 " + order);
    CHECK(foreign_encoding(widened(text, 4, big_endian)) == "UTF-32 " + order);
  }
  CHECK(foreign_encoding("\xFF\xFEx") == "UTF-16 (little-endian)");
  CHECK(foreign_encoding("\xFE\xFF") == "UTF-16 (big-endian)");
  CHECK(foreign_encoding(std::string_view("\xFF\xFE\0\0", 4)) == "UTF-32 (little-endian)");
}

TEST_CASE("UTF-8 and bytes that may be anything are let pass") {
  for (const std::string_view text : {"", "a", "It is a truth universally acknowledged", "\xEF\xBB\xBF{}",
                                      "\xE4\xB8\xAD\xE6\x96\x87\xE5\xAD\x97", "caf\xE9 au lait, s'il vous pla\xEEt"})
    CHECK_NOTHROW(require_utf8(text, "t"));
  CHECK_NOTHROW(require_utf8(std::string(100, '\0'), "t"));
  CHECK_NOTHROW(require_utf8(std::string("a few zero bytes\0 in a text are no encoding", 42), "t"));
}

TEST_CASE("the sentence has the name, the encoding and the way out") {
  CHECK_THROWS_WITH_AS(require_utf8(widened("It is a truth", 2, false), "t.txt"),
                       doctest::Contains("t.txt is UTF-16 (little-endian) text and UTF-8 is wanted: save it as UTF-8"),
                       Error);
  CHECK_THROWS_WITH_AS(require_utf8("\x1F\x8B\x08", "t.gz"), doctest::Contains("t.gz is compressed (gzip)"), Error);
}

TEST_CASE("whole characters from the beginning") {
  CHECK(utf8_length("") == 0);
  CHECK(utf8_length("ab\xC3\xA9") == 4);
  CHECK(utf8_length("ab\xC3") == 2);
  CHECK(utf8_length("ab\xE9 c") == 2);
}

}  // namespace
