// Methods of strings, mappings and lists, as Python has them.
#include <algorithm>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_builtins.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/jinja_strings.hpp"

namespace dodeca::runtime::jinja {
namespace {

struct MethodEntry {
  std::string_view name, parameters;
  std::size_t n_required;
  Value (*call)(Budget&, const Text&, const Bound&);
};

Value text_value(Budget& budget, Text text) { return Value::of(budget, std::move(text)); }

template <bool ends>
Value has_affix(Budget& budget, const Text& text, const Bound& a) {
  if (a.has(1)) budget.fail("calls startswith() or endswith() with a position");
  const auto holds = [&](const Value& affix) {
    if (!affix.is(Kind::kString)) budget.fail(fmt::format("looks for {} at an end of a string", kind_name(affix)));
    return ends ? text.bytes.ends_with(affix.text().bytes) : text.bytes.starts_with(affix.text().bytes);
  };
  if (!a[0]->is(ListKind::kTuple)) return Value::of(holds(*a[0]));
  return Value::of(std::any_of(a[0]->list().begin(), a[0]->list().end(), holds));
}

// The part of the text that [start, end) of the arguments leaves, as positions of bytes.
std::pair<std::size_t, std::size_t> within(Budget& budget, const Text& text, const Bound& a, std::size_t first) {
  if (!a.has(first) && !a.has(first + 1)) return {0, text.size()};
  const CodePoints starts(budget, text.bytes);
  const auto n = static_cast<Integer>(starts.size());
  const auto place = [&](std::size_t i, Integer fallback) {
    const Integer at = a.has(i) && !a[i]->is(Kind::kNone) ? a.integer(i, 0) : fallback;
    return at < 0 ? std::max<Integer>(at + n, 0) : at;
  };
  const Integer begin = place(first, 0), end = std::min(place(first + 1, n), n);
  if (begin > end) return {1, 0};
  return {starts[begin], starts[end]};
}

template <bool from_right, bool must>
Value find_method(Budget& budget, const Text& text, const Bound& a) {
  const auto [begin, end] = within(budget, text, a, 1);
  std::size_t found = std::string::npos;
  if (begin <= end) {
    const auto in = std::string_view(text.bytes).substr(begin, end - begin);
    found = from_right ? rfind_text(budget, in, a.text(0).bytes) : find_text(budget, in, a.text(0).bytes, 0);
  }
  if (found == std::string::npos) {
    if (must) budget.fail("asks for the index of a text that is not there");
    return Value::of(-1);
  }
  return Value::of(CodePoints(budget, std::string_view(text.bytes).substr(0, begin + found)).size());
}

Value count_method(Budget& budget, const Text& text, const Bound& a) {
  const auto [begin, end] = within(budget, text, a, 1);
  if (begin > end) return Value::of(0);
  const auto in = std::string_view(text.bytes).substr(begin, end - begin);
  const std::string& what = a.text(0).bytes;
  if (what.empty()) return Value::of(CodePoints(budget, in).size() + 1);
  int n = 0;
  for (std::size_t at = find_text(budget, in, what, 0); at != std::string::npos; ++n) {
    at = find_text(budget, in, what, at + what.size());
  }
  return Value::of(n);
}

template <bool left, bool right>
Value strip_method(Budget& budget, const Text& text, const Bound& a) {
  return text_value(budget, strip(budget, text, a.text_or_none(0), left, right));
}

template <bool from_right>
Value split_method(Budget& budget, const Text& text, const Bound& a) {
  const Value* separator = a.text_or_none(0);
  return split(budget, text, separator ? &separator->text() : nullptr, a.integer(1, -1), from_right);
}

template <bool from_right>
Value partition(Budget& budget, const Text& text, const Bound& a) {
  const std::string& what = a.text(0).bytes;
  if (what.empty()) budget.fail("splits at an empty string");
  const std::size_t at = from_right ? rfind_text(budget, text.bytes, what) : find_text(budget, text.bytes, what, 0);
  const Value none = text_value(budget, Text()), all = text_value(budget, text);
  if (at == std::string::npos)
    return Value::of(budget, from_right ? List{none, none, all} : List{all, none, none}, ListKind::kTuple);
  return Value::of(budget,
                   List{text_value(budget, part(budget, text, 0, at)), *a[0],
                        text_value(budget, part(budget, text, at + what.size()))},
                   ListKind::kTuple);
}

template <bool prefix>
Value remove_affix(Budget& budget, const Text& text, const Bound& a) {
  const std::string& what = a.text(0).bytes;
  if (prefix) return text_value(budget, text.bytes.starts_with(what) ? part(budget, text, what.size()) : text);
  return text_value(budget, text.bytes.ends_with(what) ? part(budget, text, 0, text.size() - what.size()) : text);
}

template <std::size_t side>
Value pad_method(Budget& budget, const Text& text, const Bound& a) {
  const Text fill = a.has(1) ? a.text(1) : Text(" ");
  if (CodePoints(budget, fill.bytes).size() != 1) budget.fail("fills with a text that is not one character");
  return text_value(budget, padded(budget, text, a.integer(0, 0), fill, side));
}

Value zero_fill(Budget& budget, const Text& text, const Bound& a) {
  const bool sign = text.bytes.starts_with('-') || text.bytes.starts_with('+');
  const Text digits = part(budget, text, sign ? 1 : 0);
  TextBuilder out(budget);
  return out.add(text, 0, sign ? 1 : 0)
      .add(padded(budget, digits, a.integer(0, 0) - (sign ? 1 : 0), Text("0"), 0))
      .value();
}

template <Case to>
Value case_method(Budget& budget, const Text& text, const Bound&) {
  return text_value(budget, with_case(budget, text, to));
}

// '{}', '{0}' and '{name}'; what Python allows in them beyond that is refused.
Value format_method(Budget& budget, const Text& text, const Arguments& args) {
  TextBuilder out(budget);
  std::size_t next = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t at = std::min(text.bytes.find_first_of("{}", pos), text.size());
    out.add(text, pos, at - pos);
    if (at == text.size()) break;
    if (at + 1 < text.size() && text.bytes[at + 1] == text.bytes[at]) {
      out.add(text, at, 1);
      pos = at + 2;
      continue;
    }
    const std::size_t end = text.bytes.find('}', at);
    if (text.bytes[at] == '}' || end == std::string::npos) budget.fail("formats with a single brace");
    const std::string field = text.bytes.substr(at + 1, end - at - 1);
    pos = end + 1;
    const Value* found = nullptr;
    if (field.find_first_not_of("0123456789") == std::string::npos && field.size() < 9) {
      const std::size_t i = field.empty() ? next++ : std::stoul(field);
      if (i < args.positional.size()) found = &args.positional[i];
      if (!field.empty() && next > 0) budget.fail("formats with numbered and unnumbered places");
    }
    for (const auto& [name, value] : args.keyword) found = name == field ? &value : found;
    if (!found || found->safe) budget.fail(fmt::format("formats with the place '{{{}}}'", field.substr(0, 80)));
    out.add(to_text(budget, *found));
  }
  return out.value();
}

std::span<const MethodEntry> string_methods() {
  static const auto is_class = [](Budget& budget, const Text& text, bool (*holds)(char)) {
    if (!is_ascii(text.bytes)) budget.fail("asks for the class of characters that are not ASCII");
    return Value::of(text.size() > 0 && std::all_of(text.bytes.begin(), text.bytes.end(), holds));
  };
  static constexpr auto kDigit = [](char c) { return c >= '0' && c <= '9'; };
  static constexpr auto kLetter = [](char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; };
  static constexpr auto kDigits = [](Budget& b, const Text& t, const Bound&) { return is_class(b, t, kDigit); };
  static const MethodEntry all[] = {
      {"strip", "_", 0, strip_method<true, true>},
      {"lstrip", "_", 0, strip_method<true, false>},
      {"rstrip", "_", 0, strip_method<false, true>},
      {"split", "sep maxsplit", 0, split_method<false>},
      {"rsplit", "sep maxsplit", 0, split_method<true>},
      {"splitlines", "keepends", 0,
       [](Budget& b, const Text& t, const Bound& a) { return Value::of(b, split_lines(b, t, a.truthy(0))); }},
      {"partition", "_", 1, partition<false>},
      {"rpartition", "_", 1, partition<true>},
      {"startswith", "_ _ _", 1, has_affix<false>},
      {"endswith", "_ _ _", 1, has_affix<true>},
      {"removeprefix", "_", 1, remove_affix<true>},
      {"removesuffix", "_", 1, remove_affix<false>},
      {"replace", "_ _ _", 2,
       [](Budget& b, const Text& t, const Bound& a) {
         return text_value(b, replace(b, t, a.text(0), a.text(1), a.integer(2, -1)));
       }},
      {"find", "_ _ _", 1, find_method<false, false>},
      {"rfind", "_ _ _", 1, find_method<true, false>},
      {"index", "_ _ _", 1, find_method<false, true>},
      {"rindex", "_ _ _", 1, find_method<true, true>},
      {"count", "_ _ _", 1, count_method},
      {"join", "_", 1,
       [](Budget& b, const Text& t, const Bound& a) {
         return text_value(b, join(b, items_of(b, *a[0]).list(), t, true));
       }},
      {"upper", "", 0, case_method<Case::kUpper>},
      {"lower", "", 0, case_method<Case::kLower>},
      {"title", "", 0, case_method<Case::kTitle>},
      {"capitalize", "", 0, case_method<Case::kCapital>},
      {"swapcase", "", 0, case_method<Case::kSwap>},
      {"rjust", "_ _", 1, pad_method<0>},
      {"ljust", "_ _", 1, pad_method<1>},
      {"center", "_ _", 1, pad_method<2>},
      {"zfill", "_", 1, zero_fill},
      {"isdigit", "", 0, kDigits},
      {"isdecimal", "", 0, kDigits},
      {"isnumeric", "", 0, kDigits},
      {"isalpha", "", 0, [](Budget& b, const Text& t, const Bound&) { return is_class(b, t, kLetter); }},
      {"isalnum", "", 0,
       [](Budget& b, const Text& t, const Bound&) {
         return is_class(b, t, [](char c) { return kDigit(c) || kLetter(c); });
       }},
      {"isascii", "", 0, [](Budget&, const Text& t, const Bound&) { return Value::of(is_ascii(t.bytes)); }},
      {"isspace", "", 0,
       [](Budget& b, const Text& t, const Bound&) {
         return Value::of(t.size() > 0 && strip(b, t, nullptr, true, true).size() == 0);
       }},
      {"islower", "", 0,
       [](Budget& b, const Text& t, const Bound&) { return Value::of(apply_test(b, "lower", Value::of(b, t), {})); }},
      {"isupper", "", 0,
       [](Budget& b, const Text& t, const Bound&) { return Value::of(apply_test(b, "upper", Value::of(b, t), {})); }},
  };
  return all;
}

Value call_dict_method(Budget& budget, std::string_view name, const Dict& dict, const Arguments& arguments) {
  if (name == "get") {
    const Bound a(budget, "get()", "_ _", 1, arguments);
    const Value* found = find(budget, dict, *a[0]);
    return found ? *found : a[1] ? *a[1] : Value::none();
  }
  const Bound none(budget, std::string(name) + "()", "", 0, arguments);
  if (name == "copy") return Value::of(budget, dict);
  if (name != "items" && name != "keys" && name != "values") budget.fail(fmt::format("calls {}() on a mapping", name));
  ListBuilder out(budget);
  for (const auto& [key, value] : dict) {
    out.add(name == "keys" ? key : name == "values" ? value : Value::of(budget, List{key, value}, ListKind::kTuple));
  }
  return out.value(name == "keys" ? ListKind::kKeys : name == "values" ? ListKind::kValues : ListKind::kItems);
}

Value call_list_method(Budget& budget, std::string_view name, const Value& object, const Arguments& arguments) {
  if (name == "copy" && object.is(ListKind::kList)) {
    const Bound none(budget, "copy()", "", 0, arguments);
    return Value::of(budget, object.list());
  }
  if ((name != "index" && name != "count") || object.as<ListObject>().kind >= ListKind::kKeys)
    budget.fail(fmt::format("calls {}() on {}", name, kind_name(object)));
  const Bound a(budget, std::string(name) + "()", "_", 1, arguments);
  int count = 0;
  for (std::size_t i = 0; i < object.list().size(); ++i) {
    if (!equal(budget, object.list()[i], *a[0])) continue;
    if (name == "index") return Value::of(i);
    ++count;
  }
  if (name == "index") budget.fail("asks for the index of an item that is not there");
  return Value::of(count);
}

}  // namespace

Value call_method(Budget& budget, std::string_view name, const Value& object, const Arguments& arguments) {
  budget.work(kWorkPerNode + weight(object));
  if (object.is(Kind::kDict)) return call_dict_method(budget, name, object.dict(), arguments);
  if (object.is(Kind::kList)) return call_list_method(budget, name, object, arguments);
  if (object.is(Kind::kString) && name == "format") return format_method(budget, object.text(), arguments);
  if (object.is(Kind::kString)) {
    for (const MethodEntry& method : string_methods()) {
      if (method.name != name) continue;
      const std::string who = fmt::format("{}()", name);
      return method.call(budget, object.text(), Bound(budget, who, method.parameters, method.n_required, arguments));
    }
  }
  budget.fail(fmt::format("calls {}() on {}", name, kind_name(object)));
}

}  // namespace dodeca::runtime::jinja
