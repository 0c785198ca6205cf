// UTF-8 as the tokenizers need it: strict (no overlong forms, no surrogates, nothing above U+10FFFF), never failing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dodeca::runtime::utf8 {

// Bytes of the character that begins at `pos`, or 0 when the bytes there are not one.
std::size_t length_at(std::string_view text, std::size_t pos);
// The same, but an invalid byte counts as a character of one byte. pos < text.size().
std::size_t step_at(std::string_view text, std::size_t pos);
// The code point of a valid character of `length` bytes.
char32_t code_point(std::string_view text, std::size_t pos, std::size_t length);
void append(std::string& out, char32_t code_point);
std::string encode(char32_t code_point);
// Unicode's White_Space property; with `python` also U+001C-001F, as Python's str.isspace().
bool is_space(char32_t code_point, bool python = false);

}  // namespace dodeca::runtime::utf8
