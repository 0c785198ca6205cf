// Text out of files made safe to show: control characters and bytes that are no UTF-8 become \xNN, so that a hostile
// name can neither drive the terminal nor break a line.
#pragma once

#include <string>
#include <string_view>

namespace dodeca::runtime {

// At most max_bytes of the text (then "..."); kept_controls lists control characters that stay as they are, such as
// "\n".
std::string printable(std::string_view text, std::size_t max_bytes = std::string_view::npos,
                      std::string_view kept_controls = {});

// How many bytes at the text's start are the proper beginning of a UTF-8 character, and whether they are all of it.
// Overlong forms, surrogates and code points above U+10FFFF are no characters.
struct Utf8Prefix {
  std::size_t length = 0;
  bool complete = false;
};
Utf8Prefix utf8_prefix(std::string_view text);

}  // namespace dodeca::runtime
