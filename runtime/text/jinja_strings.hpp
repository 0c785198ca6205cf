// Python's string methods, on texts whose bytes carry marks.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "runtime/text/jinja_value.hpp"

namespace dodeca::runtime::jinja {

// Linear in the text, whatever is looked for; npos: not there.
std::size_t find_text(Budget& budget, std::string_view text, std::string_view what, std::size_t pos);
std::size_t rfind_text(Budget& budget, std::string_view text, std::string_view what);

// characters: a string, or none for white space.
Text strip(Budget& budget, const Text& text, const Value* characters, bool left, bool right);
// count < 0: all.
Text replace(Budget& budget, const Text& text, const Text& from, const Text& to, Integer count);
// separator null: runs of white space.
Value split(Budget& budget, const Text& text, const Text* separator, Integer count, bool from_right);
List split_lines(Budget& budget, const Text& text, bool keep_ends);
enum class Case { kLower, kUpper, kTitle, kCapital, kSwap, kJinjaTitle };
Text with_case(Budget& budget, const Text& text, Case to);
// The characters, padded to a width; fill is one character.
Text padded(Budget& budget, const Text& text, Integer width, const Text& fill,
            std::size_t side);  // 0 left, 1 right, 2 both
Text join(Budget& budget, const List& items, const Text& separator, bool only_strings);
Text indented(Budget& budget, const Text& text, const Text& pad, bool first, bool blank);

bool is_ascii(std::string_view text);
bool is_printable(char32_t c);  // Python's str.isprintable()
enum class Cased { kNo, kLower, kUpper };
Cased cased(char32_t c);  // by whether it has another case

}  // namespace dodeca::runtime::jinja
