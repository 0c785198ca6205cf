// str(), repr(), json.dumps() and the % operator of strings.
#include <algorithm>
#include <cmath>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/jinja_strings.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime::jinja {
namespace {

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  // fmt writes 1 for 1.0; Python keeps the point.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// Appends `source` with each character for which `escape` gives a text replaced by it, marks carried over.
template <class Escape>
void add_escaped(TextBuilder& out, const Text& source, const Escape& escape) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < source.size();) {
    const std::size_t n = utf8::step_at(source.bytes, i);
    const char32_t c = utf8::length_at(source.bytes, i) == n ? utf8::code_point(source.bytes, i, n) : 0xFFFD;
    if (const std::string replaced = escape(c); !replaced.empty()) {
      out.add(source, begin, i - begin).add(replaced, source.marks[i] != 0);
      begin = i + n;
    }
    i += n;
  }
  out.add(source, begin, source.size() - begin);
}

std::string control_escape(char32_t c) {
  return c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == '\\' ? "\\\\" : "";
}

void add_string_repr(TextBuilder& out, const Text& text) {
  const bool single = text.bytes.find('\'') != std::string::npos, twice = text.bytes.find('"') != std::string::npos;
  const char mark = single && !twice ? '"' : '\'';
  out.add(std::string_view(&mark, 1));
  add_escaped(out, text, [mark](char32_t c) -> std::string {
    if (c == static_cast<char32_t>(mark)) return std::string("\\") + mark;
    if (std::string escaped = control_escape(c); !escaped.empty()) return escaped;
    const auto code = static_cast<std::uint32_t>(c);
    if (c < 0x20 || c == 0x7F || (c > 0x7F && c <= 0xFF && !is_printable(c))) return fmt::format("\\x{:02x}", code);
    if (c <= 0xFF || is_printable(c)) return "";
    return c <= 0xFFFF ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
  });
  out.add(std::string_view(&mark, 1));
}

void add_repr(Budget& budget, TextBuilder& out, const Value& value);

// Items between brackets, as Python writes lists, tuples and views.
void add_list_repr(Budget& budget, TextBuilder& out, const Value& value) {
  const ListKind kind = value.as<ListObject>().kind;
  if (kind == ListKind::kRange) budget.fail("prints a range");
  static constexpr std::string_view kBefore[] = {"[", "(", "", "dict_keys([", "dict_values([", "dict_items(["};
  static constexpr std::string_view kAfter[] = {"]", ")", "", "])", "])", "])"};
  out.add(kBefore[static_cast<std::size_t>(kind)]);
  for (std::size_t i = 0; i < value.list().size(); ++i) {
    if (i > 0) out.add(", ");
    add_repr(budget, out, value.list()[i]);
  }
  if (kind == ListKind::kTuple && value.list().size() == 1) out.add(",");
  out.add(kAfter[static_cast<std::size_t>(kind)]);
}

void add_repr(Budget& budget, TextBuilder& out, const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      out.add("Undefined");
      return;
    case Kind::kString:
      if (value.safe) budget.fail("prints a list with a text marked as safe");
      add_string_repr(out, value.text());
      return;
    case Kind::kList:
      add_list_repr(budget, out, value);
      return;
    case Kind::kDict:
      out.add("{");
      for (std::size_t i = 0; i < value.dict().size(); ++i) {
        if (i > 0) out.add(", ");
        add_repr(budget, out, value.dict()[i].first);
        out.add(": ");
        add_repr(budget, out, value.dict()[i].second);
      }
      out.add("}");
      return;
    default:
      out.add(to_text(budget, value));
  }
}

class JsonWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style) : budget_(budget), style_(style), out_(budget) {}

  Text write(const Value& value) {
    add(value, 0);
    return out_.take();
  }

 private:
  void add(const Value& value, int level) {
    switch (value.kind) {
      case Kind::kString:
        add_string(value.text());
        return;
      case Kind::kBool:
        out_.add(value.integer != 0 ? "true" : "false");
        return;
      case Kind::kNone:
        out_.add("null");
        return;
      case Kind::kInt:
      case Kind::kFloat:
        out_.add(number(value));
        return;
      case Kind::kList:
        if (!value.is(ListKind::kList) && !value.is(ListKind::kTuple)) break;
        out_.add("[");
        for (std::size_t i = 0; i < value.list().size(); ++i) {
          before_item(i, level + 1);
          add(value.list()[i], level + 1);
        }
        if (!value.list().empty()) new_line(level);
        out_.add("]");
        return;
      case Kind::kDict:
        add_dict(value.dict(), level);
        return;
      default:
        break;
    }
    budget_.fail(fmt::format("prints {} as JSON", kind_name(value)));
  }

  void add_dict(Dict entries, int level) {
    budget_.work(entries.size() * kWorkPerItem);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [&](const auto& a, const auto& b) { return order(budget_, a.first, b.first) == -1; });
    }
    out_.add("{");
    for (std::size_t i = 0; i < entries.size(); ++i) {
      before_item(i, level + 1);
      const Value& key = entries[i].first;
      if (key.is(Kind::kString)) {
        add_string(key.text());
      } else if (key.is_number() || key.is(Kind::kNone)) {
        out_.add("\"");
        add(key, 0);
        out_.add("\"");
      } else {
        budget_.fail(fmt::format("prints JSON with {} as key", kind_name(key)));
      }
      out_.add(style_.key_separator);
      add(entries[i].second, level + 1);
    }
    if (!entries.empty()) new_line(level);
    out_.add("}");
  }

  void before_item(std::size_t i, int level) {
    if (i > 0) out_.add(style_.item_separator);
    new_line(level);
  }
  void new_line(int level) {
    if (!style_.indent) return;
    out_.add("\n");
    for (int i = 0; i < level; ++i) out_.add(*style_.indent);
  }

  static std::string number(const Value& value) {
    if (value.is_integral()) return fmt::format("{}", value.integer);
    if (std::isnan(value.real)) return "NaN";
    if (std::isinf(value.real)) return value.real < 0 ? "-Infinity" : "Infinity";
    return real_text(value.real);
  }

  void add_string(const Text& text) {
    out_.add("\"");
    add_escaped(out_, text, [this](char32_t c) -> std::string {
      if (c == '"') return "\\\"";
      if (c == '\b') return "\\b";
      if (c == '\f') return "\\f";
      if (std::string escaped = control_escape(c); !escaped.empty()) return escaped;
      const auto code = static_cast<std::uint32_t>(c);
      if (c < 0x20 || (style_.ensure_ascii && c >= 0x7F && c <= 0xFFFF)) return fmt::format("\\u{:04x}", code);
      if (c <= 0xFFFF || !style_.ensure_ascii) return "";
      return fmt::format("\\u{:04x}\\u{:04x}", 0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF));
    });
    out_.add("\"");
  }

  Budget& budget_;
  const JsonStyle& style_;
  TextBuilder out_;
};

// One %-field: its flags and widths, and what it asks for.
struct PercentField {
  bool minus = false, zero = false, plus = false, space = false;
  std::size_t width = 0;
  int precision = -1;
  char type = 's';
};

std::size_t read_number(Budget& budget, std::string_view text, std::size_t& pos) {
  std::size_t n = 0;
  for (; pos < text.size() && text[pos] >= '0' && text[pos] <= '9'; ++pos) {
    n = n * 10 + static_cast<std::size_t>(text[pos] - '0');
    if (n > 1000) budget.fail("formats with a width of more than 1000");
  }
  return n;
}

PercentField read_field(Budget& budget, std::string_view text, std::size_t& pos) {
  PercentField field;
  for (; pos < text.size() && std::string_view("-0+ ").find(text[pos]) != std::string_view::npos; ++pos) {
    (text[pos] == '-'   ? field.minus
     : text[pos] == '0' ? field.zero
     : text[pos] == '+' ? field.plus
                        : field.space) = true;
  }
  field.width = read_number(budget, text, pos);
  if (pos < text.size() && text[pos] == '.') {
    ++pos;
    field.precision = static_cast<int>(read_number(budget, text, pos));
  }
  if (pos >= text.size() || std::string_view("srdifxXo").find(text[pos]) == std::string_view::npos)
    budget.fail(fmt::format("formats with '%{}'", pos < text.size() ? text.substr(pos, 1) : ""));
  field.type = text[pos++];
  return field;
}

Text formatted(Budget& budget, const PercentField& field, const Value& value) {
  if (field.type == 's' || field.type == 'r') {
    Text text = field.type == 's' ? to_text(budget, value) : to_repr(budget, value);
    if (field.precision < 0) return text;
    const CodePoints starts(budget, text.bytes);
    return part(budget, text, 0, starts[std::min(starts.size(), static_cast<std::size_t>(field.precision))]);
  }
  if (!value.is_number()) budget.fail(fmt::format("formats {} with '%{}'", kind_name(value), field.type));
  std::string text;
  const double real = value.as_real();
  if (field.type == 'f') {
    if (!std::isfinite(real)) budget.fail("formats a number that is not finite");
    text = fmt::format("{:.{}f}", std::fabs(real), field.precision < 0 ? 6 : field.precision);
  } else {
    if (field.precision >= 0) budget.fail("formats an integer with a precision");
    const bool whole = field.type == 'd' || field.type == 'i';
    if (!value.is_integral() && !whole) budget.fail(fmt::format("formats a number with '%{}'", field.type));
    if (!value.is_integral() && !(std::fabs(real) < 0x1p126)) budget.fail("formats a number that is too large");
    const Integer integer = value.is_integral() ? value.integer : static_cast<Integer>(real);
    const Integer size = integer < 0 ? -integer : integer;
    text = field.type == 'x'   ? fmt::format("{:x}", size)
           : field.type == 'X' ? fmt::format("{:X}", size)
           : field.type == 'o' ? fmt::format("{:o}", size)
                               : fmt::format("{}", size);
  }
  const bool below = value.is_integral() ? value.integer < 0 : std::signbit(real) && (field.type == 'f' || real <= -1);
  const std::string sign = below ? "-" : field.plus ? "+" : field.space ? " " : "";
  if (field.zero && !field.minus && sign.size() + text.size() < field.width)
    text.insert(0, field.width - sign.size() - text.size(), '0');
  return Text(sign + text);
}

}  // namespace

Text to_text(Budget& budget, const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return Text();
    case Kind::kNone:
      return Text("None");
    case Kind::kBool:
      return Text(value.integer != 0 ? "True" : "False");
    case Kind::kInt:
      return Text(fmt::format("{}", value.integer));
    case Kind::kFloat:
      return Text(real_text(value.real));
    case Kind::kString:
      budget.work(value.text().size());
      return value.text();
    case Kind::kList:
    case Kind::kDict:
      return to_repr(budget, value);
    default:
      budget.fail(fmt::format("prints {}", kind_name(value)));
  }
}

Text to_repr(Budget& budget, const Value& value) {
  TextBuilder out(budget);
  add_repr(budget, out, value);
  return out.take();
}

Text to_json(Budget& budget, const Value& value, const JsonStyle& style) {
  return JsonWriter(budget, style).write(value);
}

Text format_percent(Budget& budget, const Text& pattern, const Value& values) {
  const bool many = values.is(ListKind::kTuple);
  const std::size_t n_values = many ? values.list().size() : 1;
  TextBuilder out(budget);
  std::size_t used = 0;
  for (std::size_t pos = 0; pos < pattern.size();) {
    const std::size_t percent = std::min(pattern.bytes.find('%', pos), pattern.size());
    out.add(pattern, pos, percent - pos);
    pos = percent + 1;
    if (percent == pattern.size()) break;
    if (pos < pattern.size() && pattern.bytes[pos] == '%') {
      out.add(pattern, pos++, 1);
      continue;
    }
    const PercentField field = read_field(budget, pattern.bytes, pos);
    if (used == n_values) budget.fail("formats fewer values than the pattern has places");
    const Text text = formatted(budget, field, many ? values.list()[used] : values);
    ++used;
    const std::size_t width = CodePoints(budget, text.bytes).size();
    const std::string pad(field.width > width ? field.width - width : 0, ' ');
    if (!field.minus) out.add(pad);
    out.add(text);
    if (field.minus) out.add(pad);
  }
  // Python takes what can be indexed for a mapping, of which nothing need be used.
  const bool mapping = values.is(Kind::kDict) || values.is(ListKind::kList) || values.is(Kind::kUndefined);
  if (used < n_values && !mapping) budget.fail("formats more values than the pattern has places");
  return out.take();
}

}  // namespace dodeca::runtime::jinja
