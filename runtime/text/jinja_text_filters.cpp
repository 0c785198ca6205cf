// Filters on texts, numbers and values of any kind.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_builtins.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/jinja_strings.hpp"

namespace dodeca::runtime::jinja {
namespace {

// The text of an integer or a number as Python reads it: without space around, without single underscores between
// digits. Empty: neither.
std::string numeral(Budget& budget, const Text& text) {
  if (!is_ascii(text.bytes)) budget.fail("reads a number from a text that is not ASCII");
  const std::string in = strip(budget, text, nullptr, true, true).bytes;
  std::string out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i] != '_') {
      out += in[i];
      continue;
    }
    const auto digit = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
    if (i == 0 || i + 1 == in.size() || !digit(in[i - 1]) || !digit(in[i + 1])) return "";
  }
  return out;
}

std::optional<Value> parsed_integer(Budget& budget, const Text& text, Integer base) {
  if (base != 0 && (base < 2 || base > 36)) budget.fail("reads an integer with an impossible base");
  std::string in = numeral(budget, text);
  const bool minus = in.starts_with('-');
  if (minus || in.starts_with('+')) in.erase(0, 1);
  const auto prefixed = [&](std::string_view mark, Integer of) {
    if ((base != of && base != 0) || in.size() < 3 || in[0] != '0' || mark.find(in[1]) == std::string_view::npos)
      return false;
    in.erase(0, 2);
    base = of;
    return true;
  };
  if (!prefixed("xX", 16) && !prefixed("oO", 8) && !prefixed("bB", 2) && base == 0) {
    if (in.size() > 1 && in[0] == '0' && in.find_first_not_of('0') != std::string::npos) return std::nullopt;
    base = 10;
  }
  if (in.empty()) return std::nullopt;
  Integer value = 0;
  for (const char c : in) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                             : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, Integer{digit}, &value))
      budget.fail("reads an integer that is too large");
  }
  return Value::of(minus ? -value : value);
}

std::optional<double> parsed_real(Budget& budget, const Text& text) {
  std::string in = numeral(budget, text);
  if (in.starts_with('+') && !in.starts_with("+-")) in.erase(0, 1);
  double value = 0;
  const char* end = in.data() + in.size();
  const auto [stop, error] = std::from_chars(in.data(), end, value);
  if (stop != end || error == std::errc::invalid_argument || in.find('(') != std::string::npos) return std::nullopt;
  if (error == std::errc::result_out_of_range) budget.fail("reads a number that is too large or too small");
  return value;
}

Value whole(Budget& budget, double value) {
  if (std::isinf(value)) budget.fail("makes an integer of infinity");
  if (std::fabs(value) >= 0x1p126) budget.fail("makes an integer that is too large");
  return Value::of(static_cast<Integer>(value));
}

Value to_integer(Budget& budget, const Value& v, const Bound& a) {
  Value fallback = a[0] ? *a[0] : Value::of(0);
  if (v.is_integral()) return Value::of(v.integer);
  if (v.is(Kind::kFloat)) return std::isnan(v.real) ? fallback : whole(budget, v.real);
  if (v.is(Kind::kUndefined)) budget.fail(fmt::format("makes an integer of {}", kind_name(v)));
  if (!v.is(Kind::kString)) return fallback;
  if (const auto integer = parsed_integer(budget, v.text(), a.integer(1, 10))) return *integer;
  const std::optional<double> real = parsed_real(budget, v.text());
  return !real || !std::isfinite(*real) ? fallback : whole(budget, *real);
}

Value to_real(Budget& budget, const Value& v, const Bound& a) {
  Value fallback = a[0] ? *a[0] : Value::of(0.0);
  if (v.is_number()) return Value::of(v.as_real());
  if (v.is(Kind::kUndefined)) budget.fail(fmt::format("makes a number of {}", kind_name(v)));
  if (!v.is(Kind::kString)) return fallback;
  const std::optional<double> real = parsed_real(budget, v.text());
  return real ? Value::of(*real) : fallback;
}

Value absolute(Budget& budget, const Value& v, const Bound&) {
  if (!v.is_number()) budget.fail(fmt::format("takes the size of {}", kind_name(v)));
  if (v.is(Kind::kFloat)) return Value::of(std::fabs(v.real));
  return v.integer < 0 ? negative(budget, v) : Value::of(v.integer);
}

Value rounded(Budget& budget, const Value& v, const Bound& a) {
  if (!v.is_number()) budget.fail(fmt::format("rounds {}", kind_name(v)));
  const Integer digits = a.integer(0, 0);
  const std::string method = a.has(1) ? a.text(1).bytes : "common";
  if (digits < 0 || digits > 15) budget.fail("rounds to a number of digits that is not 0 to 15");
  if (method == "common") {
    if (v.is_integral()) return Value::of(v.integer);
    if (!std::isfinite(v.real)) return v;
    // The decimal nearest to the exact value, ties to even, as in Python.
    const std::string text = fmt::format("{:.{}f}", v.real, static_cast<int>(digits));
    double value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return Value::of(value);
  }
  if (method != "ceil" && method != "floor")
    budget.fail(fmt::format("rounds with the unknown method '{}'", method.substr(0, 80)));
  const Value scale = arithmetic(budget, "**", Value::of(10), Value::of(digits));
  const Value scaled = arithmetic(budget, "*", v, scale);
  const Value cut = scaled.is_integral()
                        ? scaled
                        : whole(budget, method == "ceil" ? std::ceil(scaled.real) : std::floor(scaled.real));
  return arithmetic(budget, "/", cut, scale);
}

Value json_filter(Budget& budget, const Value& v, const Bound& a) {
  JsonStyle style;
  style.ensure_ascii = a.truthy(0);
  if (a.has(1) && !a[1]->is(Kind::kNone)) {
    if (a[1]->is(Kind::kString)) {
      style.indent = a.text(1).bytes;
    } else {
      const Integer width = a.integer(1, 0);
      if (width > 1000) budget.fail("indents JSON by more than 1000");
      style.indent = std::string(std::max<Integer>(width, 0), ' ');
    }
    style.item_separator = ",";
  }
  if (a.has(2) && !a[2]->is(Kind::kNone)) {
    if (!a[2]->is(Kind::kList) || a[2]->list().size() != 2 || !a[2]->list()[0].is(Kind::kString) ||
        !a[2]->list()[1].is(Kind::kString))
      budget.fail("gives |tojson separators that are not two strings");
    style.item_separator = a[2]->list()[0].text().bytes;
    style.key_separator = a[2]->list()[1].text().bytes;
  }
  style.sort_keys = a.truthy(3);
  return Value::of(budget, to_json(budget, v, style));
}

Value indent_filter(Budget& budget, const Value& v, const Bound& a) {
  if (!v.is(Kind::kString)) budget.fail(fmt::format("indents {}", kind_name(v)));
  Text pad("    ");
  if (a.has(0)) {
    if (a[0]->is(Kind::kString)) {
      pad = a.text(0);
    } else {
      const Integer width = a.integer(0, 4);
      if (width > 1000) budget.fail("indents by more than 1000");
      pad = Text(std::string(std::max<Integer>(width, 0), ' '));
    }
  }
  return Value::of(budget, indented(budget, v.text(), pad, a.truthy(1), a.truthy(2)));
}

Value truncated(Budget& budget, const Value& v, const Bound& a) {
  if (!v.is(Kind::kString)) budget.fail(fmt::format("shortens {}", kind_name(v)));
  const Text end = a.has(2) ? a.text(2) : Text("...");
  const Integer length = a.integer(0, 255), slack = a.has(3) && !a[3]->is(Kind::kNone) ? a.integer(3, 5) : 5;
  const auto n_end = static_cast<Integer>(CodePoints(budget, end.bytes).size());
  if (length < n_end || slack < 0) budget.fail("shortens a text to an impossible length");
  const CodePoints starts(budget, v.text().bytes);
  if (static_cast<Integer>(starts.size()) <= length + slack) return v;
  Text kept = part(budget, v.text(), 0, starts[length - n_end]);
  if (!a.truthy(1)) {
    const std::size_t space = rfind_text(budget, kept.bytes, " ");
    if (space != std::string::npos) kept = part(budget, kept, 0, space);
  }
  return TextBuilder(budget).add(kept).add(end).value();
}

Value count_words(Budget& budget, const Value& v, const Bound&) {
  const Text text = to_text(budget, v);
  if (!is_ascii(text.bytes)) budget.fail("counts the words of a text that is not ASCII");
  int n = 0;
  bool in_word = false;
  for (const char c : text.bytes) {
    const bool word = std::isalnum(static_cast<unsigned char>(c)) || c == '_';
    n += word && !in_word;
    in_word = word;
  }
  return Value::of(n);
}

Value escaped(Budget& budget, const Value& v, const Bound&) {
  if (v.safe) return v;
  TextBuilder out(budget);
  const Text text = to_text(budget, v);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes[i];
    const std::string_view code = c == '&'    ? "&amp;"
                                  : c == '<'  ? "&lt;"
                                  : c == '>'  ? "&gt;"
                                  : c == '"'  ? "&#34;"
                                  : c == '\'' ? "&#39;"
                                              : "";
    if (code.empty()) {
      out.add(text, i, 1);
    } else {
      out.add(code, text.marks[i] != 0);
    }
  }
  Value value = out.value();
  value.safe = true;
  return value;
}

Value safe(Budget& budget, const Value& v, const Bound&) {
  Value value = Value::of(budget, to_text(budget, v));
  value.safe = true;
  return value;
}

Value fallback(Budget& budget, const Value& v, const Bound& a) {
  const bool replace = v.is(Kind::kUndefined) || (a.truthy(1) && !v.truthy());
  return !replace ? v : a[0] ? *a[0] : Value::of(budget, Text());
}

template <Case to>
Value cased_text(Budget& budget, const Value& v, const Bound&) {
  return Value::of(budget, with_case(budget, to_text(budget, v), to));
}

Value as_text(Budget& budget, const Value& v, const Bound&) {
  return v.is(Kind::kString) ? v : Value::of(budget, to_text(budget, v));
}

Value length(Budget& budget, const Value& v, const Bound&) { return Value::of(length_of(budget, v)); }

}  // namespace

std::span<const FilterEntry> text_filters() {
  static const FilterEntry all[] = {
      {"tojson", "ensure_ascii indent separators sort_keys", 0, json_filter},
      {"trim", "chars", 0,
       [](Budget& b, const Value& v, const Bound& a) {
         return Value::of(b, strip(b, to_text(b, v), a.text_or_none(0), true, true));
       }},
      {"length", "", 0, length},
      {"count", "", 0, length},
      {"default", "default_value boolean", 0, fallback},
      {"d", "default_value boolean", 0, fallback},
      {"string", "", 0, as_text},
      {"safe", "", 0, safe},
      {"escape", "", 0, escaped},
      {"e", "", 0, escaped},
      {"upper", "", 0, cased_text<Case::kUpper>},
      {"lower", "", 0, cased_text<Case::kLower>},
      {"title", "", 0, cased_text<Case::kJinjaTitle>},
      {"capitalize", "", 0, cased_text<Case::kCapital>},
      {"indent", "width first blank", 0, indent_filter},
      {"replace", "old new count", 2,
       [](Budget& b, const Value& v, const Bound& a) {
         const Integer count = a.has(2) && !a[2]->is(Kind::kNone) ? a.integer(2, -1) : -1;
         return Value::of(b, replace(b, to_text(b, v), to_text(b, *a[0]), to_text(b, *a[1]), count));
       }},
      {"center", "width", 0,
       [](Budget& b, const Value& v, const Bound& a) {
         return Value::of(b, padded(b, to_text(b, v), a.integer(0, 80), Text(" "), 2));
       }},
      {"truncate", "length killwords end leeway", 0, truncated},
      {"wordcount", "", 0, count_words},
      {"int", "default base", 0, to_integer},
      {"float", "default", 0, to_real},
      {"abs", "", 0, absolute},
      {"round", "precision method", 0, rounded},
      {"attr", "name", 1,
       [](Budget& b, const Value& v, const Bound& a) { return python_attribute(b, v, to_text(b, *a[0]).bytes); }},
  };
  return all;
}

}  // namespace dodeca::runtime::jinja
