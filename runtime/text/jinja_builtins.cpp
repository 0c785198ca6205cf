// Binding of arguments, and the tables of filters and tests by name.
#include "runtime/text/jinja_builtins.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/jinja_strings.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime::jinja {

Bound::Bound(Budget& budget, std::string_view who, std::string_view parameters, std::size_t n_required,
             const Arguments& arguments)
    : budget_(budget), who_(who) {
  std::vector<std::string_view> names;
  for (std::size_t pos = 0; pos < parameters.size();) {
    const std::size_t end = std::min(parameters.find(' ', pos), parameters.size());
    names.push_back(parameters.substr(pos, end - pos));
    pos = end + 1;
  }
  values_.resize(names.size());
  if (arguments.positional.size() > names.size())
    budget.fail(
        fmt::format("gives {} arguments to {}, which takes {}", arguments.positional.size(), who, names.size()));
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.keyword) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end() || name == "_") budget.fail(fmt::format("gives {} the unknown argument '{}'", who, name));
    const Value*& place = values_[found - names.begin()];
    if (place) budget.fail(fmt::format("gives {} the argument '{}' twice", who, name));
    place = &value;
  }
  for (std::size_t i = 0; i < n_required; ++i) {
    if (!values_[i]) budget.fail(fmt::format("gives {} too few arguments", who));
  }
  for (const Value* value : values_) budget.work(value ? weight(*value) : 1);
}

Integer Bound::integer(std::size_t i, Integer fallback) const {
  if (!values_[i]) return fallback;
  if (!values_[i]->is_integral()) budget_.fail(fmt::format("gives {} to {}", kind_name(*values_[i]), who_));
  return values_[i]->integer;
}

const Text& Bound::text(std::size_t i) const {
  if (!values_[i]->is(Kind::kString) || values_[i]->safe)
    budget_.fail(fmt::format("gives {} to {}", kind_name(*values_[i]), who_));
  return values_[i]->text();
}

const Value* Bound::text_or_none(std::size_t i) const {
  if (!values_[i] || values_[i]->is(Kind::kNone)) return nullptr;
  text(i);
  return values_[i];
}

namespace {

const FilterEntry* filter_entry(std::string_view name) {
  for (const auto table : {text_filters(), list_filters()}) {
    for (const FilterEntry& entry : table) {
      if (entry.name == name) return &entry;
    }
  }
  return nullptr;
}

constexpr std::string_view kVariadicFilters[] = {"map", "select", "reject", "selectattr", "rejectattr", "format"};
// What Jinja2 has and this interpreter refuses when it comes to it.
constexpr std::string_view kOtherFilters[] = {"filesizeformat", "forceescape", "groupby", "pprint",   "random", "slice",
                                              "striptags",      "urlencode",   "urlize",  "wordwrap", "xmlattr"};

bool is_one_of(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Value variadic_filter(Budget& budget, std::string_view name, const Value& value, const Arguments& arguments) {
  if (name == "map") return map(budget, value, arguments);
  if (name == "format") {
    if (value.safe || !arguments.keyword.empty()) budget.fail("uses |format with keywords or on a safe text");
    const Value values = Value::of(budget, List(arguments.positional), ListKind::kTuple);
    return Value::of(budget, format_percent(budget, to_text(budget, value), values));
  }
  return choose(budget, value, arguments, name.ends_with("attr"), name.starts_with("select"));
}

struct TestEntry {
  std::string_view name;
  std::size_t n_arguments;
  bool (*holds)(Budget&, const Value&, const Value*);
};

bool is_same(Budget& budget, const Value& a, const Value& b) {
  if (a.kind != b.kind) return false;
  if (a.object && a.object == b.object) return true;
  if (a.is(Kind::kString) || a.is(Kind::kFloat) || a.is(Kind::kUndefined) ||
      (a.is(Kind::kInt) && (a.integer < -5 || a.integer > 256))) {
    if (!equal(budget, a, b)) return false;
    budget.fail(fmt::format("asks whether {} is the same as an equal one", kind_name(a)));
  }
  if (a.is(Kind::kList) || a.is(Kind::kDict) || a.is(Kind::kIterator)) return false;
  return equal(budget, a, b);
}

// islower() and isupper(): some letter, and none of the other case.
bool has_case(Budget& budget, const Value& value, Cased wanted) {
  const Text text = to_text(budget, value);
  budget.work(20 * text.size());
  bool found = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = utf8::step_at(text.bytes, i);
    const Cased is = utf8::length_at(text.bytes, i) == n ? cased(utf8::code_point(text.bytes, i, n)) : Cased::kNo;
    if (is != Cased::kNo && is != wanted) return false;
    found = found || is == wanted;
    i += n;
  }
  return found;
}

bool has_remainder(Budget& budget, const Value& value, const Value& by, int wanted) {
  if (!value.is_number()) budget.fail(fmt::format("divides {}", kind_name(value)));
  return equal(budget, arithmetic(budget, "%", value, by), Value::of(wanted));
}

template <char first, char second>
bool ordered(Budget& budget, const Value& v, const Value* a) {
  static constexpr char kOp[] = {first, second, 0};
  return compare(budget, std::string_view(kOp, second == ' ' ? 1 : 2), v, *a);
}

std::span<const TestEntry> tests() {
  static constexpr auto kIsEqual = ordered<'=', '='>;
  static constexpr auto kDiffers = ordered<'!', '='>;
  static constexpr auto kAbove = ordered<'>', ' '>;
  static constexpr auto kBelow = ordered<'<', ' '>;
  static const TestEntry all[] = {
      {"defined", 0, [](Budget&, const Value& v, const Value*) { return !v.is(Kind::kUndefined); }},
      {"undefined", 0, [](Budget&, const Value& v, const Value*) { return v.is(Kind::kUndefined); }},
      {"none", 0, [](Budget&, const Value& v, const Value*) { return v.is(Kind::kNone); }},
      {"string", 0, [](Budget&, const Value& v, const Value*) { return v.is(Kind::kString); }},
      {"number", 0, [](Budget&, const Value& v, const Value*) { return v.is_number(); }},
      {"integer", 0, [](Budget&, const Value& v, const Value*) { return v.is(Kind::kInt); }},
      {"float", 0, [](Budget&, const Value& v, const Value*) { return v.is(Kind::kFloat); }},
      {"boolean", 0, [](Budget&, const Value& v, const Value*) { return v.is(Kind::kBool); }},
      {"true", 0, [](Budget&, const Value& v, const Value*) { return v.is(Kind::kBool) && v.integer != 0; }},
      {"false", 0, [](Budget&, const Value& v, const Value*) { return v.is(Kind::kBool) && v.integer == 0; }},
      {"mapping", 0, [](Budget&, const Value& v, const Value*) { return v.is(Kind::kDict); }},
      {"iterable", 0,
       [](Budget&, const Value& v, const Value*) {
         return v.is(Kind::kUndefined) || v.is(Kind::kString) || v.is(Kind::kList) || v.is(Kind::kDict) ||
                v.is(Kind::kIterator) || v.is(Kind::kLoop);
       }},
      {"sequence", 0,
       [](Budget&, const Value& v, const Value*) {
         return v.is(Kind::kUndefined) || v.is(Kind::kString) || v.is(Kind::kDict) ||
                (v.is(Kind::kList) && v.as<ListObject>().kind < ListKind::kKeys);
       }},
      {"callable", 0,
       [](Budget&, const Value& v, const Value*) {
         return v.is(Kind::kMacro) || v.is(Kind::kMethod) || v.is(Kind::kFunction) || v.is(Kind::kLoop) ||
                v.is(Kind::kUndefined);
       }},
      {"lower", 0, [](Budget& b, const Value& v, const Value*) { return has_case(b, v, Cased::kLower); }},
      {"upper", 0, [](Budget& b, const Value& v, const Value*) { return has_case(b, v, Cased::kUpper); }},
      {"escaped", 0, [](Budget&, const Value& v, const Value*) { return v.safe; }},
      {"odd", 0, [](Budget& b, const Value& v, const Value*) { return has_remainder(b, v, Value::of(2), 1); }},
      {"even", 0, [](Budget& b, const Value& v, const Value*) { return has_remainder(b, v, Value::of(2), 0); }},
      {"divisibleby", 1, [](Budget& b, const Value& v, const Value* a) { return has_remainder(b, v, *a, 0); }},
      {"in", 1, [](Budget& b, const Value& v, const Value* a) { return contains(b, *a, v); }},
      {"sameas", 1, [](Budget& b, const Value& v, const Value* a) { return is_same(b, v, *a); }},
      {"filter", 0,
       [](Budget& b, const Value& v, const Value*) { return hash_key(b, v)[0] == 's' && is_filter(v.text().bytes); }},
      {"test", 0,
       [](Budget& b, const Value& v, const Value*) { return hash_key(b, v)[0] == 's' && is_test(v.text().bytes); }},
      {"eq", 1, kIsEqual},
      {"equalto", 1, kIsEqual},
      {"==", 1, kIsEqual},
      {"ne", 1, kDiffers},
      {"!=", 1, kDiffers},
      {"gt", 1, kAbove},
      {"greaterthan", 1, kAbove},
      {">", 1, kAbove},
      {"lt", 1, kBelow},
      {"lessthan", 1, kBelow},
      {"<", 1, kBelow},
      {"ge", 1, ordered<'>', '='>},
      {">=", 1, ordered<'>', '='>},
      {"le", 1, ordered<'<', '='>},
      {"<=", 1, ordered<'<', '='>},
  };
  return all;
}

}  // namespace

bool is_filter(std::string_view name) {
  return filter_entry(name) || is_one_of(kVariadicFilters, name) || is_one_of(kOtherFilters, name);
}

bool is_test(std::string_view name) {
  return std::any_of(tests().begin(), tests().end(), [name](const TestEntry& test) { return test.name == name; });
}

Value apply_filter(Budget& budget, std::string_view name, const Value& value, const Arguments& arguments) {
  budget.work(kWorkPerNode + weight(value));
  if (is_one_of(kVariadicFilters, name)) return variadic_filter(budget, name, value, arguments);
  const FilterEntry* entry = filter_entry(name);
  if (!entry) budget.fail(fmt::format("uses the unknown filter '{}'", name));
  if (value.safe && name != "safe" && name != "length" && name != "count" && name != "e" && name != "escape")
    budget.fail(fmt::format("uses |{} on {}", name, kind_name(value)));
  const std::string who = fmt::format("|{}", name);
  return entry->apply(budget, value, Bound(budget, who, entry->parameters, entry->n_required, arguments));
}

bool apply_test(Budget& budget, std::string_view name, const Value& value, const Arguments& arguments) {
  budget.work(kWorkPerNode);
  for (const TestEntry& test : tests()) {
    if (test.name != name) continue;
    if (arguments.positional.size() != test.n_arguments || !arguments.keyword.empty())
      budget.fail(fmt::format("gives the test '{}' other than {} arguments", name, test.n_arguments));
    return test.holds(budget, value, test.n_arguments > 0 ? &arguments.positional[0] : nullptr);
  }
  budget.fail(fmt::format("uses the unknown test '{}'", name));
}

}  // namespace dodeca::runtime::jinja
