// Template source -> tokens, with Jinja2's white-space control.
#include <algorithm>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja.hpp"
#include "runtime/text/jinja_ast.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime::jinja {
namespace {

constexpr std::string_view kSpace = " \t\n\r\f\v";

bool is_name_start(char c) { return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  Lexer(Budget& budget, std::string_view source) : budget_(budget) {
    // As Jinja2 reads files: every line end is "\n", and the last one is dropped.
    for (std::size_t i = 0; i < source.size(); ++i) {
      if (source[i] == '\r') {
        in_ += '\n';
        if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      } else {
        in_ += source[i];
      }
    }
    if (in_.ends_with('\n')) in_.pop_back();
  }

  std::vector<Token> run() {
    while (pos_ < in_.size()) {
      const std::size_t open = find_open();
      std::string_view data = std::string_view(in_).substr(pos_, open - pos_);
      if (open == std::string::npos) {
        push(TokenKind::kData, std::string(data));
        break;
      }
      const char type = in_[open + 1];
      const char sign = open + 2 < in_.size() ? in_[open + 2] : ' ';
      if (sign == '-') {
        data = without_space_at_end(data);
      } else if (type != '{' && sign != '+') {
        data = without_indent(data);
      }
      if (!data.empty()) push(TokenKind::kData, std::string(data));
      count_lines(pos_, open);
      if (type == '%' && take_raw(open)) continue;
      pos_ = open + 2 + (sign == '-' || (sign == '+' && type != '{') ? 1 : 0);
      if (type == '#') {
        const std::size_t end = in_.find("#}", pos_);
        if (end == std::string::npos) fail("has a comment without an end");
        const bool minus = end > pos_ && in_[end - 1] == '-', plus = end > pos_ && in_[end - 1] == '+';
        count_lines(pos_, end);
        pos_ = end + 2;
        after_tag(true, minus, plus);
      } else {
        const bool output = type == '{';
        push(output ? TokenKind::kOutputBegin : TokenKind::kTagBegin, "");
        inside(output);
      }
    }
    push(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    budget_.set_line(line_);
    budget_.fail(what);
  }
  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void count_lines(std::size_t begin, std::size_t end) {
    line_ += static_cast<int>(std::count(in_.begin() + static_cast<std::ptrdiff_t>(begin),
                                         in_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
  }

  std::size_t find_open() const {
    for (std::size_t at = in_.find('{', pos_); at != std::string::npos; at = in_.find('{', at + 1)) {
      if (at + 1 < in_.size() && std::string_view("{%#").find(in_[at + 1]) != std::string_view::npos) return at;
    }
    return std::string::npos;
  }

  std::size_t skip_space(std::size_t pos) const {
    while (pos < in_.size()) {
      const std::size_t n = utf8::length_at(in_, pos);
      if (n == 0 || !utf8::is_space(utf8::code_point(in_, pos, n), true)) break;
      pos += n;
    }
    return pos;
  }

  static std::string_view without_space_at_end(std::string_view data) {
    while (!data.empty()) {
      std::size_t begin = data.size() - 1;
      while (begin > 0 && data.size() - begin < 4 && (data[begin] & 0xC0) == 0x80) --begin;
      const std::size_t n = data.size() - begin;
      if (utf8::length_at(data, begin) != n || !utf8::is_space(utf8::code_point(data, begin, n), true)) break;
      data.remove_suffix(n);
    }
    return data;
  }

  // "{% NAME %}" at `at`, with its signs: where it ends, or npos.
  std::size_t end_of_plain_tag(std::size_t at, std::string_view name, bool& minus, bool& plus) const {
    std::size_t pos = at + 2;
    if (pos < in_.size() && (in_[pos] == '-' || in_[pos] == '+')) ++pos;
    pos = skip_space(pos);
    if (!std::string_view(in_).substr(pos).starts_with(name)) return std::string::npos;
    pos = skip_space(pos + name.size());
    minus = pos < in_.size() && in_[pos] == '-';
    plus = pos < in_.size() && in_[pos] == '+';
    if (minus || plus) ++pos;
    return std::string_view(in_).substr(pos).starts_with("%}") ? pos + 2 : std::string::npos;
  }

  // "{% raw %}" up to "{% endraw %}": text as it stands. The line end behind the first tag stays.
  bool take_raw(std::size_t open) {
    bool minus = false, plus = false;
    const std::size_t begin = end_of_plain_tag(open, "raw", minus, plus);
    if (begin == std::string::npos || plus) return false;
    count_lines(open, begin);
    pos_ = begin;
    after_tag(false, minus, false);
    for (std::size_t at = in_.find("{%", pos_); at != std::string::npos; at = in_.find("{%", at + 2)) {
      const std::size_t end = end_of_plain_tag(at, "endraw", minus, plus);
      if (end == std::string::npos) continue;
      std::string_view data = std::string_view(in_).substr(pos_, at - pos_);
      const char sign = in_[at + 2];
      if (sign == '-') {
        data = without_space_at_end(data);
      } else if (sign != '+') {
        data = without_indent(data);
      }
      if (!data.empty()) push(TokenKind::kData, std::string(data));
      count_lines(pos_, end);
      pos_ = end;
      after_tag(true, minus, plus);
      return true;
    }
    fail("has a raw block without an end");
  }

  // lstrip_blocks: what stands before a tag on its line, when it is white space only.
  std::string_view without_indent(std::string_view data) const {
    const std::size_t line_begin = data.rfind('\n') + 1;
    if (line_begin == 0 && !line_starting_) return data;
    return without_space_at_end(data.substr(line_begin)).empty() ? data.substr(0, line_begin) : data;
  }

  // White space after the end of a tag, pos_ being just behind it.
  void after_tag(bool trim_newline, bool minus, bool plus) {
    const std::size_t begin = pos_;
    if (minus) {
      pos_ = skip_space(pos_);
    } else if (trim_newline && !plus && pos_ < in_.size() && in_[pos_] == '\n') {
      ++pos_;
    }
    count_lines(begin, pos_);
    line_starting_ = pos_ > 0 && in_[pos_ - 1] == '\n';
  }

  bool at(std::string_view what) const { return std::string_view(in_).substr(pos_).starts_with(what); }

  void inside(bool output) {
    const std::string_view close = output ? "}}" : "%}";
    std::string brackets;
    while (pos_ < in_.size()) {
      if (kSpace.find(in_[pos_]) != std::string_view::npos) {
        if (in_[pos_] == '\n') ++line_;
        ++pos_;
        continue;
      }
      if (brackets.empty()) {
        const bool minus = in_[pos_] == '-', plus = in_[pos_] == '+' && !output;
        if (at(close) || ((minus || plus) && std::string_view(in_).substr(pos_ + 1).starts_with(close))) {
          push(output ? TokenKind::kOutputEnd : TokenKind::kTagEnd, "");
          pos_ += close.size() + (at(close) ? 0 : 1);
          after_tag(!output, minus, plus);
          return;
        }
      }
      const char c = in_[pos_];
      if (is_digit(c)) {
        number();
      } else if (is_name_start(c)) {
        std::size_t end = pos_;
        while (end < in_.size() && (is_name_start(in_[end]) || is_digit(in_[end]))) ++end;
        push(TokenKind::kName, in_.substr(pos_, end - pos_));
        pos_ = end;
      } else if (c == '"' || c == '\'') {
        string(c);
      } else {
        op(brackets);
      }
    }
    fail("has a tag without an end");
  }

  // How many characters from `begin` make a signed exponent; 0: none.
  std::size_t exponent_digits(std::size_t begin) const {
    std::size_t end = begin;
    if (end < in_.size() && (in_[end] == '+' || in_[end] == '-')) ++end;
    const std::size_t first = end;
    while (end < in_.size() && is_digit(in_[end])) ++end;
    return end > first ? end - begin : 0;
  }

  // 0x1F, 0o17, 0b1: kept as they stand.
  bool prefixed_number() {
    if (in_[pos_] != '0' || pos_ + 2 >= in_.size()) return false;
    const char mark = static_cast<char>(in_[pos_ + 1] | 0x20);
    const std::string_view digits = mark == 'x' ? "0123456789abcdef_" : mark == 'o' ? "01234567_" : "01_";
    if (mark != 'x' && mark != 'o' && mark != 'b') return false;
    std::string text = {'0', mark};
    for (pos_ += 2; pos_ < in_.size(); ++pos_) {
      const char c = in_[pos_] >= 'A' && in_[pos_] <= 'Z' ? static_cast<char>(in_[pos_] | 0x20) : in_[pos_];
      if (digits.find(c) == std::string_view::npos) break;
      if (c != '_') text += c;
    }
    push(TokenKind::kInt, std::move(text));
    return true;
  }

  void number() {
    if (prefixed_number()) return;
    const bool whole = !tokens_.empty() && tokens_.back().kind == TokenKind::kOperator && tokens_.back().text == ".";
    std::size_t end = pos_;
    std::string digits;
    bool real = false;
    for (; end < in_.size(); ++end) {
      const char c = in_[end];
      if (whole && !is_digit(c)) break;
      if (c == '.' && !real && end + 1 < in_.size() && is_digit(in_[end + 1])) {
        real = true;
      } else if ((c == 'e' || c == 'E') && exponent_digits(end + 1) > 0) {
        const std::size_t n = exponent_digits(end + 1);
        digits.append(in_.substr(end, 1 + n));
        end += 1 + n;
        real = true;
        break;
      } else if (c == '_' || !is_digit(c)) {
        if (c != '_' || end + 1 >= in_.size() || !is_digit(in_[end + 1])) break;
        continue;
      }
      digits += c;
    }
    if (!real && digits[0] == '0' && digits.find_first_not_of('0') != std::string::npos)
      fail("has an integer that begins with a zero");
    push(real ? TokenKind::kFloat : TokenKind::kInt, digits);
    pos_ = end;
  }

  void string(char mark) {
    std::string out;
    for (++pos_; pos_ < in_.size() && in_[pos_] != mark; ++pos_) {
      if (in_[pos_] == '\n') ++line_;
      if (in_[pos_] != '\\' || pos_ + 1 >= in_.size()) {
        out += in_[pos_];
        continue;
      }
      const char c = in_[++pos_];
      static constexpr std::string_view kPlain = "\\'\"abfnrtv", kMeant = "\\'\"\a\b\f\n\r\t\v";
      if (const std::size_t i = kPlain.find(c); i != std::string_view::npos) {
        out += kMeant[i];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const std::size_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        char32_t code = 0;
        for (std::size_t i = 1; i <= n; ++i) {
          const char d = pos_ + i < in_.size() ? in_[pos_ + i] : ' ';
          const std::size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(d | 0x20));
          if (digit == std::string_view::npos) fail("has a string with a broken escape");
          code = code * 16 + static_cast<char32_t>(digit);
        }
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
          fail("has a string with an escape that is no character");
        utf8::append(out, code);
        pos_ += n;
      } else if (c == '\n') {
        ++line_;  // a continued line
      } else if (c >= '0' && c <= '7') {
        char32_t code = 0;
        std::size_t n = 0;
        for (; n < 3 && pos_ + n < in_.size() && in_[pos_ + n] >= '0' && in_[pos_ + n] <= '7'; ++n) {
          code = code * 8 + static_cast<char32_t>(in_[pos_ + n] - '0');
        }
        utf8::append(out, code);
        pos_ += n - 1;
      } else if (c == 'N') {
        fail("has a string with a named escape");
      } else {
        out += '\\';
        out += c;
      }
    }
    if (pos_ >= in_.size()) fail("has a string without an end");
    ++pos_;
    push(TokenKind::kString, std::move(out));
  }

  void op(std::string& brackets) {
    static constexpr std::string_view kTwo[] = {"==", "!=", "<=", ">=", "//", "**"};
    for (const std::string_view two : kTwo) {
      if (!at(two)) continue;
      push(TokenKind::kOperator, std::string(two));
      pos_ += 2;
      return;
    }
    const char c = in_[pos_];
    if (std::string_view("+-*/%~<>=()[]{},.:|").find(c) == std::string_view::npos) {
      fail(fmt::format("has an unexpected character with code {}", static_cast<unsigned char>(c)));
    }
    if (c == '(' || c == '[' || c == '{') brackets += c;
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty()) fail("closes a bracket that is not open");
      brackets.pop_back();
    }
    push(TokenKind::kOperator, std::string(1, c));
    ++pos_;
  }

  Budget& budget_;
  std::string in_;
  std::size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(Budget& budget, std::string_view source) {
  if (source.size() > kMaxSourceBytes) budget.fail(fmt::format("has more than {} bytes", kMaxSourceBytes));
  return Lexer(budget, source).run();
}

}  // namespace dodeca::runtime::jinja
