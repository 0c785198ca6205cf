// Filters, tests and methods, as Jinja2 and Python define them. Case conversions know ASCII only.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_value.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime::jinja {
namespace {

const Text& string_of(const Value& value, std::string_view what) {
  if (!value.is(Kind::kString)) fail(fmt::format("uses {} on {}", what, kind_name(value)));
  return *value.string;
}

std::int64_t integer_of(const Value& value, std::string_view what) {
  if (!value.is_integral()) fail(fmt::format("gives {} to {}", kind_name(value), what));
  return value.as_integer();
}

Text strip(const Text& text, const Value& characters, bool left, bool right) {
  const std::vector<std::size_t> starts = code_points(text.bytes);
  const bool any_space = !characters.is(Kind::kString);
  const auto drops = [&](std::size_t i) {
    const std::string_view c = std::string_view(text.bytes).substr(starts[i], starts[i + 1] - starts[i]);
    if (!any_space) return characters.string->bytes.find(c) != std::string::npos;
    return utf8::length_at(c, 0) == c.size() && utf8::is_space(utf8::code_point(c, 0, c.size()), true);
  };
  std::size_t begin = 0, end = starts.size() - 1;
  while (left && begin < end && drops(begin)) ++begin;
  while (right && begin < end && drops(end - 1)) --end;
  return text.sub(starts[begin], starts[end] - starts[begin]);
}

Text replace(const Text& text, const Text& from, const Text& to, std::int64_t count) {
  Text out;
  std::size_t pos = 0;
  if (from.size() == 0) fail("replaces an empty string");
  while (count != 0) {
    const std::size_t found = text.bytes.find(from.bytes, pos);
    if (found == std::string::npos) break;
    out.append(text.sub(pos, found - pos)).append(to);
    pos = found + from.size();
    --count;
  }
  return out.append(text.sub(pos));
}

List split(const Text& text, const Value& separator, std::int64_t count, bool from_right) {
  List parts;
  if (!separator.is(Kind::kString)) {  // runs of white space, none at the ends
    if (count >= 0 || from_right) fail("splits at white space with a limit");
    const std::vector<std::size_t> starts = code_points(text.bytes);
    std::size_t begin = std::string::npos;
    for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
      const std::size_t n = starts[i + 1] - starts[i];
      const bool space = utf8::length_at(text.bytes, starts[i]) == n &&
                         utf8::is_space(utf8::code_point(text.bytes, starts[i], n), true);
      if (space && begin != std::string::npos) parts.push_back(Value::of(text.sub(begin, starts[i] - begin)));
      begin = space ? std::string::npos : begin == std::string::npos ? starts[i] : begin;
    }
    if (begin != std::string::npos) parts.push_back(Value::of(text.sub(begin)));
    return parts;
  }
  const std::string& by = separator.string->bytes;
  if (by.empty()) fail("splits at an empty string");
  if (from_right) {
    std::size_t end = text.size();
    while (count != 0 && end >= by.size()) {
      const std::size_t found = text.bytes.rfind(by, end - by.size());
      if (found == std::string::npos) break;
      parts.insert(parts.begin(), Value::of(text.sub(found + by.size(), end - found - by.size())));
      end = found;
      --count;
    }
    parts.insert(parts.begin(), Value::of(text.sub(0, end)));
    return parts;
  }
  std::size_t pos = 0;
  while (count != 0) {
    const std::size_t found = text.bytes.find(by, pos);
    if (found == std::string::npos) break;
    if (parts.size() >= kMaxListItems) fail("splits a string into too many parts");
    parts.push_back(Value::of(text.sub(pos, found - pos)));
    pos = found + by.size();
    --count;
  }
  parts.push_back(Value::of(text.sub(pos)));
  return parts;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

enum class Case { kLower, kUpper, kTitle, kCapital };
Text with_case(Text text, Case to) {
  bool word_start = true;
  for (char& c : text.bytes) {
    const bool letter = upper(c) != lower(c);
    c = to == Case::kUpper || (to != Case::kLower && word_start) ? upper(c) : lower(c);
    word_start = to == Case::kTitle && !letter;
  }
  return text;
}

Text join(const List& items, const Text& separator) {
  Text out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(separator);
    out.append(to_text(items[i]));
  }
  return out;
}

Text indent(const Text& text, const Arguments& args) {
  const Value width = args.get(0, "width");
  const Text pad = width.is(Kind::kString)
                       ? *width.string
                       : Text(std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(
                                              width.is(Kind::kUndefined) ? 4 : integer_of(width, "indent"), 0, 1000)),
                                          ' '));
  const bool first = args.get(1, "first").truthy(), blank = args.get(2, "blank").truthy();
  Text out;
  std::size_t pos = 0;
  for (bool at_first = true;; at_first = false) {
    const std::size_t end = text.bytes.find('\n', pos);
    const Text row = text.sub(pos, end == std::string::npos ? end : end - pos);
    if (at_first ? first : blank || row.size() > 0) out.append(pad);
    out.append(row);
    if (end == std::string::npos) return out;
    out.append(text.sub(end, 1));
    pos = end + 1;
  }
}

// "a.b" or "a": what selectattr and map(attribute=) look at.
Value deep_attribute(const Value& item, const Text& path) {
  Value value = item;
  for (const Value& part : split(path, Value::of(Text(".")), -1, false)) value = attribute(value, part.string->bytes);
  return value;
}

List items_of(const Value& value) {
  if (value.is(Kind::kUndefined)) return {};
  if (!value.is(Kind::kDict)) fail(fmt::format("takes the items of {}", kind_name(value)));
  List out;
  for (const auto& [key, item] : *value.dict) {
    out.push_back(Value::of(List{Value::of(key), item}));
    out.back().tuple = true;
  }
  return out;
}

// select, reject, selectattr, rejectattr: [attribute,] [test, arguments of the test]
List choose(const Value& value, const Arguments& args, bool by_attribute, bool keep) {
  const std::size_t n_before = by_attribute ? 1 : 0;
  const Value path = by_attribute ? args.get(0, "attribute") : Value();
  const Value test = args.get(n_before, "test");
  Arguments rest;
  for (std::size_t i = n_before + 1; i < args.positional.size(); ++i) rest.positional.push_back(args.positional[i]);
  List out;
  for (const Value& item : iterate(value)) {
    const Value subject = by_attribute ? deep_attribute(item, string_of(path, "selectattr")) : item;
    const bool holds = test.is(Kind::kString) ? apply_test(test.string->bytes, subject, rest) : subject.truthy();
    if (holds == keep) out.push_back(item);
  }
  return out;
}

List map(const Value& value, const Arguments& args) {
  List out;
  const Value path = args.get(args.positional.size(), "attribute");
  for (const Value& item : iterate(value)) {
    if (path.is(Kind::kString)) {
      const Value found = deep_attribute(item, *path.string);
      const Value fallback = args.get(args.positional.size(), "default");
      out.push_back(found.is(Kind::kUndefined) && !fallback.is(Kind::kUndefined) ? fallback : found);
      continue;
    }
    Arguments rest;
    for (std::size_t i = 1; i < args.positional.size(); ++i) rest.positional.push_back(args.positional[i]);
    out.push_back(apply_filter(string_of(args.get(0, "filter"), "map").bytes, item, rest));
  }
  return out;
}

bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.as_real() < b.as_real();
  return string_of(a, "an ordering").bytes < string_of(b, "an ordering").bytes;
}

List sorted(const Value& value, const Arguments& args) {
  List out = iterate(value);
  const Value path = args.get(2, "attribute");
  std::stable_sort(out.begin(), out.end(), [&](const Value& a, const Value& b) {
    return path.is(Kind::kString) ? less(deep_attribute(a, *path.string), deep_attribute(b, *path.string)) : less(a, b);
  });
  if (args.get(0, "reverse").truthy()) std::reverse(out.begin(), out.end());
  return out;
}

std::int64_t length_of(const Value& value) {
  if (value.is(Kind::kUndefined)) return 0;
  if (value.is(Kind::kString)) return static_cast<std::int64_t>(code_points(value.string->bytes).size()) - 1;
  if (value.is(Kind::kList)) return static_cast<std::int64_t>(value.list->size());
  if (value.is(Kind::kDict)) return static_cast<std::int64_t>(value.dict->size());
  fail(fmt::format("takes the length of {}", kind_name(value)));
}

Value to_integer(const Value& value, const Arguments& args) {
  if (value.is(Kind::kFloat)) return Value::of(static_cast<std::int64_t>(std::clamp(value.real, -9e18, 9e18)));
  if (value.is_integral()) return Value::of(value.as_integer());
  std::int64_t number = 0;
  if (value.is(Kind::kString)) {
    const Text text = strip(*value.string, Value(), true, true);
    const char* end = text.bytes.data() + text.size();
    if (const auto [stop, error] = std::from_chars(text.bytes.data(), end, number); error == std::errc() && stop == end)
      return Value::of(number);
  }
  return args.has(0, "default") ? args.get(0, "default") : Value::of(std::int64_t{0});
}

using Filter = std::function<Value(const Value&, const Arguments&)>;
const std::map<std::string_view, Filter>& filters() {
  static const Filter text = [](const Value& v, const Arguments&) { return Value::of(to_text(v)); };
  static const Filter length = [](const Value& v, const Arguments&) { return Value::of(length_of(v)); };
  static const Filter fallback = [](const Value& v, const Arguments& a) {
    const bool replace = v.is(Kind::kUndefined) || (a.get(1, "boolean").truthy() && !v.truthy());
    return !replace ? v : a.has(0, "default_value") ? a.get(0, "default_value") : Value::of(Text());
  };
  static const std::map<std::string_view, Filter> all = {
      {"tojson",
       [](const Value& v, const Arguments& a) {
         const Value width = a.get(0, "indent");
         const auto n = width.is_integral() ? std::optional<std::int64_t>(width.as_integer()) : std::nullopt;
         return Value::of(to_json(v, n, a.get(9, "sort_keys").truthy()));
       }},
      {"trim",
       [](const Value& v, const Arguments& a) { return Value::of(strip(to_text(v), a.get(0, "chars"), true, true)); }},
      {"length", length},
      {"count", length},
      {"default", fallback},
      {"d", fallback},
      {"string", text},
      {"safe", text},
      {"join",
       [](const Value& v, const Arguments& a) {
         const Value path = a.get(1, "attribute");
         List items = iterate(v);
         if (path.is(Kind::kString)) {
           for (Value& item : items) item = deep_attribute(item, *path.string);
         }
         return Value::of(join(items, a.has(0, "d") ? to_text(a.get(0, "d")) : Text()));
       }},
      {"first",
       [](const Value& v, const Arguments&) {
         const List items = iterate(v);
         return items.empty() ? Value::undefined("first of nothing") : items.front();
       }},
      {"last",
       [](const Value& v, const Arguments&) {
         const List items = iterate(v);
         return items.empty() ? Value::undefined("last of nothing") : items.back();
       }},
      {"upper", [](const Value& v, const Arguments&) { return Value::of(with_case(to_text(v), Case::kUpper)); }},
      {"lower", [](const Value& v, const Arguments&) { return Value::of(with_case(to_text(v), Case::kLower)); }},
      {"title", [](const Value& v, const Arguments&) { return Value::of(with_case(to_text(v), Case::kTitle)); }},
      {"capitalize", [](const Value& v, const Arguments&) { return Value::of(with_case(to_text(v), Case::kCapital)); }},
      {"indent", [](const Value& v, const Arguments& a) { return Value::of(indent(to_text(v), a)); }},
      {"replace",
       [](const Value& v, const Arguments& a) {
         const Value count = a.get(2, "count");
         return Value::of(replace(to_text(v), to_text(a.get(0, "old")), to_text(a.get(1, "new")),
                                  count.is_integral() ? count.as_integer() : -1));
       }},
      {"list", [](const Value& v, const Arguments&) { return Value::of(iterate(v)); }},
      {"items", [](const Value& v, const Arguments&) { return Value::of(items_of(v)); }},
      {"dictsort",
       [](const Value& v, const Arguments&) {
         List items = items_of(v);
         std::stable_sort(items.begin(), items.end(), [](const Value& a, const Value& b) {
           return with_case(*(*a.list)[0].string, Case::kLower).bytes <
                  with_case(*(*b.list)[0].string, Case::kLower).bytes;
         });
         return Value::of(std::move(items));
       }},
      {"select", [](const Value& v, const Arguments& a) { return Value::of(choose(v, a, false, true)); }},
      {"reject", [](const Value& v, const Arguments& a) { return Value::of(choose(v, a, false, false)); }},
      {"selectattr", [](const Value& v, const Arguments& a) { return Value::of(choose(v, a, true, true)); }},
      {"rejectattr", [](const Value& v, const Arguments& a) { return Value::of(choose(v, a, true, false)); }},
      {"map", [](const Value& v, const Arguments& a) { return Value::of(map(v, a)); }},
      {"sort", [](const Value& v, const Arguments& a) { return Value::of(sorted(v, a)); }},
      {"unique",
       [](const Value& v, const Arguments&) {
         List out;
         for (const Value& item : iterate(v)) {
           if (std::none_of(out.begin(), out.end(), [&](const Value& seen) { return equal(seen, item); }))
             out.push_back(item);
         }
         return Value::of(std::move(out));
       }},
      {"reverse",
       [](const Value& v, const Arguments&) {
         List items = iterate(v);
         std::reverse(items.begin(), items.end());
         return v.is(Kind::kString) ? Value::of(join(items, Text())) : Value::of(std::move(items));
       }},
      {"int", to_integer},
      {"float", [](const Value& v,
                   const Arguments& a) { return Value::of(v.is_number() ? v.as_real() : to_integer(v, a).as_real()); }},
      {"abs",
       [](const Value& v, const Arguments&) {
         return v.is_integral() ? Value::of(std::abs(v.as_integer())) : Value::of(std::fabs(v.as_real()));
       }},
  };
  return all;
}

using Test = std::function<bool(const Value&, const Arguments&)>;
const std::map<std::string_view, Test>& tests() {
  static const Test is_equal = [](const Value& v, const Arguments& a) { return equal(v, a.get(0, "other")); };
  static const Test differs = [](const Value& v, const Arguments& a) { return !equal(v, a.get(0, "other")); };
  static const std::map<std::string_view, Test> all = {
      {"defined", [](const Value& v, const Arguments&) { return !v.is(Kind::kUndefined); }},
      {"undefined", [](const Value& v, const Arguments&) { return v.is(Kind::kUndefined); }},
      {"none", [](const Value& v, const Arguments&) { return v.is(Kind::kNone); }},
      {"string", [](const Value& v, const Arguments&) { return v.is(Kind::kString); }},
      {"number", [](const Value& v, const Arguments&) { return v.is_number(); }},
      {"integer", [](const Value& v, const Arguments&) { return v.is(Kind::kInt); }},
      {"float", [](const Value& v, const Arguments&) { return v.is(Kind::kFloat); }},
      {"boolean", [](const Value& v, const Arguments&) { return v.is(Kind::kBool); }},
      {"true", [](const Value& v, const Arguments&) { return v.is(Kind::kBool) && v.boolean; }},
      {"false", [](const Value& v, const Arguments&) { return v.is(Kind::kBool) && !v.boolean; }},
      {"mapping", [](const Value& v, const Arguments&) { return v.is(Kind::kDict); }},
      {"iterable",
       [](const Value& v, const Arguments&) {
         return v.is(Kind::kUndefined) || v.is(Kind::kString) || v.is(Kind::kList) || v.is(Kind::kDict);
       }},
      {"sequence",
       [](const Value& v, const Arguments&) {
         return v.is(Kind::kString) || v.is(Kind::kList) || v.is(Kind::kDict) || v.is(Kind::kUndefined);
       }},
      {"callable", [](const Value& v, const Arguments&) { return v.is(Kind::kMacro); }},
      {"odd", [](const Value& v, const Arguments&) { return integer_of(v, "odd") % 2 != 0; }},
      {"even", [](const Value& v, const Arguments&) { return integer_of(v, "even") % 2 == 0; }},
      {"divisibleby",
       [](const Value& v, const Arguments& a) {
         const std::int64_t by = integer_of(a.get(0, "num"), "divisibleby");
         if (by == 0 || by == -1) return by == -1;
         return integer_of(v, "divisibleby") % by == 0;
       }},
      {"in", [](const Value& v, const Arguments& a) { return contains(a.get(0, "seq"), v); }},
      {"eq", is_equal},
      {"equalto", is_equal},
      {"==", is_equal},
      {"sameas", is_equal},
      {"ne", differs},
      {"!=", differs},
  };
  return all;
}

bool starts_or_ends(const Text& text, const Value& what, bool ends) {
  if (what.is(Kind::kList)) {
    return std::any_of(what.list->begin(), what.list->end(),
                       [&](const Value& one) { return starts_or_ends(text, one, ends); });
  }
  const std::string& affix = string_of(what, ends ? "endswith" : "startswith").bytes;
  return ends ? text.bytes.ends_with(affix) : text.bytes.starts_with(affix);
}

Value call_string_method(std::string_view name, const Text& text, const Arguments& args) {
  const Value first = args.get(0, "");
  if (name == "strip") return Value::of(strip(text, first, true, true));
  if (name == "lstrip") return Value::of(strip(text, first, true, false));
  if (name == "rstrip") return Value::of(strip(text, first, false, true));
  if (name == "split" || name == "rsplit") {
    const Value count = args.get(1, "maxsplit");
    return Value::of(split(text, args.get(0, "sep"), count.is_integral() ? count.as_integer() : -1, name == "rsplit"));
  }
  if (name == "startswith") return Value::of(starts_or_ends(text, first, false));
  if (name == "endswith") return Value::of(starts_or_ends(text, first, true));
  if (name == "replace") {
    const Value count = args.get(2, "count");
    return Value::of(replace(text, string_of(first, "replace"), string_of(args.get(1, "new"), "replace"),
                             count.is_integral() ? count.as_integer() : -1));
  }
  if (name == "upper") return Value::of(with_case(text, Case::kUpper));
  if (name == "lower") return Value::of(with_case(text, Case::kLower));
  if (name == "title") return Value::of(with_case(text, Case::kTitle));
  if (name == "capitalize") return Value::of(with_case(text, Case::kCapital));
  if (name == "join") return Value::of(join(iterate(first), text));
  if (name == "removeprefix" && starts_or_ends(text, first, false)) return Value::of(text.sub(first.string->size()));
  if (name == "removesuffix" && starts_or_ends(text, first, true))
    return Value::of(text.sub(0, text.size() - first.string->size()));
  if (name == "removeprefix" || name == "removesuffix") return Value::of(text);
  if (name == "find") {
    const std::size_t found = text.bytes.find(string_of(first, "find").bytes);
    if (found == std::string::npos) return Value::of(std::int64_t{-1});
    return Value::of(static_cast<std::int64_t>(code_points(std::string_view(text.bytes).substr(0, found)).size()) - 1);
  }
  if (name == "count") {
    const List parts = split(text, first, -1, false);
    return Value::of(static_cast<std::int64_t>(parts.size()) - 1);
  }
  if (name == "isdigit") {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    return Value::of(text.size() > 0 && std::all_of(text.bytes.begin(), text.bytes.end(), digit));
  }
  if (name == "splitlines") {
    List rows = split(text, Value::of(Text("\n")), -1, false);
    if (rows.back().string->size() == 0) rows.pop_back();
    return Value::of(std::move(rows));
  }
  fail(fmt::format("calls {}() on a string", name));
}

}  // namespace

Value apply_filter(std::string_view name, const Value& value, const Arguments& args) {
  const auto found = filters().find(name);
  if (found == filters().end()) fail(fmt::format("uses the unknown filter '{}'", name));
  return found->second(value, args);
}

bool apply_test(std::string_view name, const Value& value, const Arguments& args) {
  const auto found = tests().find(name);
  if (found == tests().end()) fail(fmt::format("uses the unknown test '{}'", name));
  return found->second(value, args);
}

Value call_method(std::string_view name, const Value& object, const Arguments& args) {
  if (object.is(Kind::kString)) return call_string_method(name, *object.string, args);
  if (object.is(Kind::kDict)) {
    if (name == "items") return Value::of(items_of(object));
    if (name == "keys") return Value::of(iterate(object));
    if (name == "values") {
      List values;
      for (const auto& entry : *object.dict) values.push_back(entry.second);
      return Value::of(std::move(values));
    }
    if (name == "get") {
      const Value* found = object.find(to_text(args.get(0, "key")).bytes);
      return found ? *found : args.has(1, "default") ? args.get(1, "default") : Value::none();
    }
    if (name == "cycle" && object.find("index0") && !args.positional.empty()) {
      return args.positional[static_cast<std::size_t>(object.find("index0")->integer) % args.positional.size()];
    }
  }
  if (object.is(Kind::kList) && (name == "index" || name == "count")) {
    std::int64_t count = 0;
    for (std::size_t i = 0; i < object.list->size(); ++i) {
      if (!equal((*object.list)[i], args.get(0, ""))) continue;
      if (name == "index") return Value::of(static_cast<std::int64_t>(i));
      ++count;
    }
    if (name == "count") return Value::of(count);
  }
  if (object.is(Kind::kUndefined))
    fail(fmt::format("calls {}() on '{}', which is undefined", name, object.string ? object.string->bytes : ""));
  fail(fmt::format("calls {}() on {}", name, kind_name(object)));
}

bool contains(const Value& container, const Value& item) {
  switch (container.kind) {
    case Kind::kString:
      return container.string->bytes.find(string_of(item, "in").bytes) != std::string::npos;
    case Kind::kDict:
      return item.is(Kind::kString) && container.find(item.string->bytes);
    case Kind::kList:
      return std::any_of(container.list->begin(), container.list->end(),
                         [&](const Value& v) { return equal(v, item); });
    case Kind::kUndefined:
      return false;
    default:
      fail(fmt::format("looks for something in {}", kind_name(container)));
  }
}

Value attribute(const Value& object, std::string_view name) {
  if (object.is(Kind::kUndefined)) {
    fail(fmt::format("asks '{}', which is undefined, for '{}'", object.string ? object.string->bytes : "", name));
  }
  const Value* found = object.find(name);
  return found ? *found : Value::undefined(name);
}

}  // namespace dodeca::runtime::jinja
