// Upper and lower case, and what can be printed, for all of Unicode.
#include <algorithm>
#include <cstdint>
#include <iterator>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_strings.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime::jinja {
namespace {

struct CaseRun {  // every step-th code point from first to last differs from its other case by `difference`
  std::uint32_t first, last, step;
  std::int32_t difference;
};
struct CaseText {
  std::uint32_t code;
  const char* text;
};
struct CodeRange {
  std::uint32_t first, last;
};
#include "runtime/text/unicode_tables.inc"

constexpr char32_t kSigma = 0x3A3;

template <class Row, std::size_t n, class Key>
const Row* row_of(const Row (&table)[n], char32_t c, const Key& last) {
  const auto found = std::lower_bound(std::begin(table), std::end(table), static_cast<std::uint32_t>(c),
                                      [&](const Row& row, std::uint32_t code) { return last(row) < code; });
  return found == std::end(table) ? nullptr : found;
}

template <std::size_t n>
const char* special(const CaseText (&table)[n], char32_t c) {
  const CaseText* row = row_of(table, c, [](const CaseText& r) { return r.code; });
  return row && row->code == c ? row->text : nullptr;
}

template <std::size_t n>
char32_t simple(const CaseRun (&table)[n], char32_t c) {
  const CaseRun* row = row_of(table, c, [](const CaseRun& r) { return r.last; });
  if (!row || c < row->first || (c - row->first) % row->step != 0) return c;
  return static_cast<char32_t>(static_cast<std::int32_t>(c) + row->difference);
}

void add_upper(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  } else if (const char* text = special(kUpperTexts, c)) {
    out += text;
  } else {
    utf8::append(out, simple(kUpper, c));
  }
}

void add_lower(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (const char* text = special(kLowerTexts, c)) {
    out += text;
  } else {
    utf8::append(out, simple(kLower, c));
  }
}

void add_title(std::string& out, char32_t c) {
  if (const char* text = c < 0x80 ? nullptr : special(kTitleTexts, c)) {
    out += text;
  } else {
    add_upper(out, c);
  }
}

bool begins_word(char32_t c) {  // what Jinja's title filter splits at
  return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || utf8::is_space(c, true);
}

}  // namespace

Cased cased(char32_t c) {
  std::string upper, lower, same;
  add_upper(upper, c);
  add_lower(lower, c);
  utf8::append(same, c);
  return upper != same ? Cased::kLower : lower != same ? Cased::kUpper : Cased::kNo;
}

bool is_printable(char32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  const CodeRange* row = row_of(kNotPrintable, c, [](const CodeRange& r) { return r.last; });
  return !row || c < row->first;
}

Text with_case(Budget& budget, const Text& text, Case to) {
  budget.work(10 * text.size());
  TextBuilder out(budget);
  bool in_word = false;  // title: a letter came before; capital: any character
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = utf8::step_at(text.bytes, i);
    const bool valid = utf8::length_at(text.bytes, i) == n;
    const char32_t c = valid ? utf8::code_point(text.bytes, i, n) : 0xFFFD;
    std::string changed;
    const bool upper = to == Case::kUpper || (to == Case::kSwap && cased(c) == Cased::kLower);
    const bool title = !in_word && (to == Case::kTitle || to == Case::kCapital);
    if (!valid) {
      changed = text.bytes.substr(i, n);
    } else if (title) {
      add_title(changed, c);
    } else if (upper || (to == Case::kJinjaTitle && !in_word)) {
      add_upper(changed, c);
    } else {
      if (c == kSigma) budget.fail("lowers a capital sigma, which has two small forms");
      add_lower(changed, c);
    }
    in_word = to == Case::kTitle ? cased(c) != Cased::kNo : to == Case::kCapital || !begins_word(c);
    out.add(changed, text.marks[i] != 0);
    i += n;
  }
  return out.take();
}

}  // namespace dodeca::runtime::jinja
