#include "runtime/text/jinja_value.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/base/error.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime::jinja {

void fail(std::string_view what, int line) {
  Error error(ErrorKind::kUnsupported,
              fmt::format("the chat template {} (--chat-template NAME chooses a built-in one)", what));
  if (line > 0) error.with("line", line);
  throw error;
}

Text Text::sub(std::size_t pos, std::size_t n) const {
  Text out;
  out.bytes = bytes.substr(pos, n);
  out.marks = marks.substr(pos, n);
  return out;
}

namespace {

void check_length(std::size_t length) {
  if (length > kMaxTextBytes)
    throw Error(ErrorKind::kBadRequest, "the chat template makes a prompt that is too long")
        .with("limit_bytes", kMaxTextBytes);
}

}  // namespace

Text& Text::append(const Text& other) {
  check_length(bytes.size() + other.bytes.size());
  bytes += other.bytes;
  marks += other.marks;
  return *this;
}

Text Text::repeated(std::int64_t n) const {
  Text out;
  if (size() == 0 || n <= 0) return out;
  const std::size_t length = size() * static_cast<std::size_t>(std::min<std::int64_t>(n, kMaxTextBytes + 1));
  check_length(length);
  out.bytes.reserve(length);
  out.marks.reserve(length);
  for (std::int64_t i = 0; i < n; ++i) {
    out.bytes += bytes;
    out.marks += marks;
  }
  return out;
}

Value Value::none() {
  Value v;
  v.kind = Kind::kNone;
  return v;
}
Value Value::of(bool b) {
  Value v;
  v.kind = Kind::kBool;
  v.boolean = b;
  return v;
}
Value Value::of(std::int64_t i) {
  Value v;
  v.kind = Kind::kInt;
  v.integer = i;
  return v;
}
Value Value::of(double d) {
  Value v;
  v.kind = Kind::kFloat;
  v.real = d;
  return v;
}
Value Value::of(Text text) {
  Value v;
  v.kind = Kind::kString;
  v.string = std::make_shared<const Text>(std::move(text));
  return v;
}
Value Value::of(List list) {
  Value v;
  v.kind = Kind::kList;
  v.list = std::make_shared<List>(std::move(list));
  return v;
}
Value Value::of(Dict dict, Kind kind) {
  Value v;
  v.kind = kind;
  v.dict = std::make_shared<Dict>(std::move(dict));
  return v;
}
Value Value::undefined(std::string_view name) {
  Value v;
  v.string = std::make_shared<const Text>(name);
  return v;
}

bool Value::truthy() const {
  switch (kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return boolean;
    case Kind::kInt:
      return integer != 0;
    case Kind::kFloat:
      return real != 0;
    case Kind::kString:
      return !string->bytes.empty();
    case Kind::kList:
      return !list->empty();
    case Kind::kDict:
      return !dict->empty();
    case Kind::kNamespace:
    case Kind::kMacro:
      return true;
  }
  return false;
}

const Value* Value::find(std::string_view key) const {
  if (!dict) return nullptr;
  for (const auto& [name, value] : *dict) {
    if (name.bytes == key) return &value;
  }
  return nullptr;
}

Value from_json(const Json& json, bool user) {
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value::of(json.get<bool>());
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return Value::of(json.get<std::int64_t>());
    case Json::value_t::number_float:
      return Value::of(json.get<double>());
    case Json::value_t::string:
      return Value::of(Text(json.get_ref<const std::string&>(), user));
    case Json::value_t::array: {
      List list;
      for (const Json& item : json) list.push_back(from_json(item, user));
      return Value::of(std::move(list));
    }
    case Json::value_t::object: {
      Dict dict;
      for (auto it = json.begin(); it != json.end(); ++it)
        dict.emplace_back(Text(it.key(), user), from_json(it.value(), user));
      return Value::of(std::move(dict));
    }
    default:
      return Value::none();
  }
}

std::string_view kind_name(const Value& value) {
  static constexpr std::string_view kNames[] = {"an undefined value", "None",   "a boolean", "an integer",  "a number",
                                                "a string",           "a list", "a mapping", "a namespace", "a macro"};
  return kNames[static_cast<std::size_t>(value.kind)];
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_integral() && b.is_integral() ? a.as_integer() == b.as_integer() : a.as_real() == b.as_real();
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kString:
      return a.string->bytes == b.string->bytes;
    case Kind::kList:
      return std::equal(a.list->begin(), a.list->end(), b.list->begin(), b.list->end(), equal);
    case Kind::kDict:
      return a.dict->size() == b.dict->size() && std::all_of(a.dict->begin(), a.dict->end(), [&](const auto& entry) {
               const Value* other = b.find(entry.first.bytes);
               return other && equal(entry.second, *other);
             });
    case Kind::kNamespace:
      return a.dict == b.dict;
    case Kind::kMacro:
      return a.macro == b.macro;
    default:
      return true;  // None, undefined
  }
}

namespace {

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  // fmt writes 1 for 1.0; Python keeps the point.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// Wraps `source` in quotes with each byte for which `escape` gives a text replaced by it, marks carried over.
template <class Escape>
Text quote(const Text& source, char mark, const Escape& escape) {
  Text out(std::string_view(&mark, 1));
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::string replaced = escape(source.bytes[i]);
    out.append(replaced.empty() ? source.sub(i, 1) : Text(replaced, source.marks[i] != 0));
  }
  return out.append(Text(std::string_view(&mark, 1)));
}

std::string control_escape(char c) {
  switch (c) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\\':
      return "\\\\";
    default:
      return "";
  }
}

Text python_repr(const Value& value) {
  if (!value.is(Kind::kString)) return to_text(value);
  const std::string& bytes = value.string->bytes;
  const char mark = bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos ? '"' : '\'';
  return quote(*value.string, mark, [mark](char c) -> std::string {
    if (c == mark) return std::string("\\") + mark;
    if (const std::string escaped = control_escape(c); !escaped.empty()) return escaped;
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? fmt::format("\\x{:02x}", static_cast<unsigned char>(c))
                                                             : "";
  });
}

Text json_quoted(const Text& text) {
  return quote(text, '"', [](char c) -> std::string {
    if (c == '"') return "\\\"";
    if (c == '\b') return "\\b";
    if (c == '\f') return "\\f";
    if (const std::string escaped = control_escape(c); !escaped.empty()) return escaped;
    return static_cast<unsigned char>(c) < 0x20 ? fmt::format("\\u{:04x}", static_cast<unsigned char>(c)) : "";
  });
}

void write_json(const Value& value, std::optional<std::int64_t> indent, bool sort_keys, int level, Text& out) {
  if (level > 100) fail("prints JSON that is nested too deeply");
  const auto newline = [&](int l) {
    if (indent)
      out.append(Text("\n" + std::string(static_cast<std::size_t>(*indent) * static_cast<std::size_t>(l), ' ')));
  };
  const std::string_view comma = indent ? "," : ", ";
  switch (value.kind) {
    case Kind::kString:
      out.append(json_quoted(*value.string));
      return;
    case Kind::kBool:
      out.append(Text(value.boolean ? "true" : "false"));
      return;
    case Kind::kNone:
      out.append(Text("null"));
      return;
    case Kind::kInt:
    case Kind::kFloat:
      out.append(to_text(value));
      return;
    case Kind::kList:
      out.append(Text("["));
      for (std::size_t i = 0; i < value.list->size(); ++i) {
        if (i > 0) out.append(Text(comma));
        newline(level + 1);
        write_json((*value.list)[i], indent, sort_keys, level + 1, out);
      }
      if (!value.list->empty()) newline(level);
      out.append(Text("]"));
      return;
    case Kind::kDict: {
      Dict entries = *value.dict;
      if (sort_keys)
        std::stable_sort(entries.begin(), entries.end(),
                         [](const auto& a, const auto& b) { return a.first.bytes < b.first.bytes; });
      out.append(Text("{"));
      for (std::size_t i = 0; i < entries.size(); ++i) {
        if (i > 0) out.append(Text(comma));
        newline(level + 1);
        out.append(json_quoted(entries[i].first)).append(Text(": "));
        write_json(entries[i].second, indent, sort_keys, level + 1, out);
      }
      if (!entries.empty()) newline(level);
      out.append(Text("}"));
      return;
    }
    default:
      fail(fmt::format("prints {} as JSON", kind_name(value)));
  }
}

}  // namespace

Text to_text(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return Text();
    case Kind::kNone:
      return Text("None");
    case Kind::kBool:
      return Text(value.boolean ? "True" : "False");
    case Kind::kInt:
      return Text(fmt::format("{}", value.integer));
    case Kind::kFloat:
      return Text(real_text(value.real));
    case Kind::kString:
      return *value.string;
    case Kind::kList: {
      Text out(value.tuple ? "(" : "[");
      for (std::size_t i = 0; i < value.list->size(); ++i) {
        out.append(Text(i > 0 ? ", " : "")).append(python_repr((*value.list)[i]));
      }
      if (!value.tuple) return out.append(Text("]"));
      return out.append(Text(value.list->size() == 1 ? ",)" : ")"));
    }
    case Kind::kDict: {
      Text out("{");
      for (std::size_t i = 0; i < value.dict->size(); ++i) {
        const auto& [key, item] = (*value.dict)[i];
        out.append(Text(i > 0 ? ", " : ""))
            .append(python_repr(Value::of(key)))
            .append(Text(": "))
            .append(python_repr(item));
      }
      return out.append(Text("}"));
    }
    default:
      fail(fmt::format("prints {}", kind_name(value)));
  }
}

Text to_json(const Value& value, std::optional<std::int64_t> indent, bool sort_keys) {
  if (indent && (*indent < 0 || *indent > 64)) fail("indents JSON by an impossible width");
  Text out;
  write_json(value, indent, sort_keys, 0, out);
  return out;
}

std::vector<std::size_t> code_points(std::string_view text) {
  std::vector<std::size_t> starts;
  for (std::size_t pos = 0; pos < text.size(); pos += utf8::step_at(text, pos)) starts.push_back(pos);
  starts.push_back(text.size());
  return starts;
}

List iterate(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return {};
    case Kind::kList:
      return *value.list;
    case Kind::kDict: {
      List keys;
      for (const auto& entry : *value.dict) keys.push_back(Value::of(entry.first));
      return keys;
    }
    case Kind::kString: {
      List characters;
      const std::vector<std::size_t> starts = code_points(value.string->bytes);
      if (starts.size() > kMaxListItems) fail("iterates over a string that is too long");
      for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
        characters.push_back(Value::of(value.string->sub(starts[i], starts[i + 1] - starts[i])));
      }
      return characters;
    }
    default:
      fail(fmt::format("iterates over {}", kind_name(value)));
  }
}

Value Arguments::get(std::size_t position, std::string_view name) const {
  if (position < positional.size()) return positional[position];
  for (const auto& [key, value] : keyword) {
    if (key == name) return value;
  }
  return Value();
}

}  // namespace dodeca::runtime::jinja
