// Filters on lists, mappings and whatever can be iterated.
#include <algorithm>
#include <unordered_set>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_builtins.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/jinja_strings.hpp"

namespace dodeca::runtime::jinja {
namespace {

// "a.b", "a.0" or a number: what selectattr, map(attribute=) and others look at. `fallback` stands in for what is
// undefined on the way.
Value deep_attribute(Budget& budget, const Value& object, const Value& path, const Value* fallback = nullptr) {
  Value value = object;
  const auto step = [&](const Value& key) {
    value = item(budget, value, key);
    if (fallback && !fallback->is(Kind::kNone) && value.is(Kind::kUndefined)) value = *fallback;
  };
  if (!path.is(Kind::kString)) {
    if (!path.is(Kind::kInt)) budget.fail(fmt::format("takes {} for the name of an attribute", kind_name(path)));
    step(path);
    return value;
  }
  const Text dot(".");
  const Value parts = split(budget, path.text(), &dot, -1, false);
  for (const Value& name : parts.list()) {
    const std::string& text = name.text().bytes;
    const bool number = !text.empty() && text.size() < 18 &&
                        std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    step(number ? Value::of(static_cast<Integer>(std::stoll(text))) : name);
  }
  return value;
}

Value lowered(Budget& budget, const Value& value) {
  return value.is(Kind::kString) ? Value::of(budget, with_case(budget, value.text(), Case::kLower)) : value;
}

// What items are compared by.
Value key_of(Budget& budget, const Value& item, const Value* path, bool case_sensitive) {
  const Value key = path && !path->is(Kind::kNone) ? deep_attribute(budget, item, *path) : item;
  return case_sensitive ? key : lowered(budget, key);
}

Value in_order(Budget& budget, const List& items, const List& keys, bool reverse, ListKind kind) {
  std::vector<std::size_t> places(items.size());
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = i;
  const Held held(budget, places.size() * 2 * sizeof(std::size_t));
  std::stable_sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) {
    const int result = order(budget, keys[reverse ? b : a], keys[reverse ? a : b]);
    if (result == 2) budget.fail("sorts a NaN");
    return result == -1;
  });
  ListBuilder out(budget);
  for (const std::size_t i : places) out.add(items[i]);
  return out.value(kind);
}

// Jinja's keys are lists, of several attributes when commas part them: then equal ones need no order.
Value sorted(Budget& budget, const Value& v, const Bound& a) {
  const Value items = items_of(budget, v);
  List paths;
  if (a.has(2) && a[2]->is(Kind::kString)) {
    const Text comma(",");
    paths = split(budget, a.text(2), &comma, -1, false).list();
  } else {
    paths.push_back(a.has(2) ? *a[2] : Value::none());
  }
  ListBuilder keys(budget);
  for (const Value& item : items.list()) {
    ListBuilder key(budget);
    for (const Value& path : paths) key.add(key_of(budget, item, &path, a.truthy(1)));
    keys.add(key.value());
  }
  return in_order(budget, items.list(), keys.items(), a.truthy(0), ListKind::kList);
}

List pairs_of(Budget& budget, const Value& value) {
  if (!value.is(Kind::kDict)) budget.fail(fmt::format("takes the items of {}", kind_name(value)));
  ListBuilder out(budget);
  for (const auto& [key, item] : value.dict()) out.add(Value::of(budget, List{key, item}, ListKind::kTuple));
  return out.take();
}

Value sorted_dict(Budget& budget, const Value& v, const Bound& a) {
  const std::string by = a.has(1) ? a.text(1).bytes : "key";
  if (by != "key" && by != "value") budget.fail("sorts a mapping by something else than 'key' or 'value'");
  const List pairs = pairs_of(budget, v);
  ListBuilder keys(budget);
  for (const Value& pair : pairs) {
    const Value& key = pair.list()[by == "key" ? 0 : 1];
    keys.add(a.truthy(0) ? key : lowered(budget, key));
  }
  return in_order(budget, pairs, keys.items(), a.truthy(2), ListKind::kList);
}

template <bool largest>
Value extreme(Budget& budget, const Value& v, const Bound& a) {
  const Value items = items_of(budget, v);
  if (items.list().empty()) return Value::undefined(budget, "the largest or smallest of nothing");
  std::size_t best = 0;
  Value best_key = key_of(budget, items.list()[0], a[1], a.truthy(0));
  for (std::size_t i = 1; i < items.list().size(); ++i) {
    Value key = key_of(budget, items.list()[i], a[1], a.truthy(0));
    if (order(budget, key, best_key) != (largest ? 1 : -1)) continue;
    best = i;
    best_key = std::move(key);
  }
  return items.list()[best];
}

Value unique(Budget& budget, const Value& v, const Bound& a) {
  const Value items = items_of(budget, v);
  std::unordered_set<std::string> seen;
  Held held(budget, 0);
  ListBuilder out(budget);
  for (const Value& item : items.list()) {
    std::string key = hash_key(budget, key_of(budget, item, a[1], a.truthy(0)));
    held.grow(key.size() + 64);
    if (seen.insert(std::move(key)).second) out.add(item);
  }
  return out.iterator();
}

Value summed(Budget& budget, const Value& v, const Bound& a) {
  const Value items = items_of(budget, v);
  Value total = a[1] ? *a[1] : Value::of(0);
  if (total.is(Kind::kString)) budget.fail("sums strings");
  const bool by = a.has(0) && !a[0]->is(Kind::kNone);
  for (const Value& item : items.list()) {
    total = arithmetic(budget, "+", total, by ? deep_attribute(budget, item, *a[0]) : item);
  }
  return total;
}

Value first(Budget& budget, const Value& v, const Bound&) {
  if (v.is(Kind::kIterator)) {
    const auto& iterator = v.as<IteratorObject>();
    if (iterator.position < iterator.items.size()) return iterator.items[iterator.position++];
    return Value::undefined(budget, "the first of nothing");
  }
  const Value items = items_of(budget, v);
  return items.list().empty() ? Value::undefined(budget, "the first of nothing") : items.list().front();
}

Value last(Budget& budget, const Value& v, const Bound&) {
  if (v.is(Kind::kIterator)) budget.fail(fmt::format("takes the last of {}", kind_name(v)));
  const Value items = items_of(budget, v);
  return items.list().empty() ? Value::undefined(budget, "the last of nothing") : items.list().back();
}

Value reversed(Budget& budget, const Value& v, const Bound&) {
  const Value items = items_of(budget, v);
  ListBuilder out(budget);
  for (std::size_t i = items.list().size(); i-- > 0;) out.add(items.list()[i]);
  if (v.is(Kind::kString)) return Value::of(budget, join(budget, out.items(), Text(), true));
  return v.is(Kind::kIterator) ? out.value() : out.iterator();
}

Value joined(Budget& budget, const Value& v, const Bound& a) {
  Value items = items_of(budget, v);
  if (a.has(1) && !a[1]->is(Kind::kNone)) {
    ListBuilder parts(budget);
    for (const Value& item : items.list()) parts.add(deep_attribute(budget, item, *a[1]));
    items = parts.value();
  }
  return Value::of(budget, join(budget, items.list(), a[0] ? to_text(budget, *a[0]) : Text(), false));
}

Value listed(Budget& budget, const Value& v, const Bound&) {
  Value items = items_of(budget, v);
  if (items.is(ListKind::kList)) return items;
  return Value::of(budget, items.list());
}

Value batched(Budget& budget, const Value& v, const Bound& a) {
  const Integer size = a.integer(0, 1);
  if (size < 1) budget.fail("makes batches of less than one");
  const Value items = items_of(budget, v);
  ListBuilder out(budget), batch(budget);
  Integer n = 0;
  for (const Value& item : items.list()) {
    if (n == size) {
      out.add(batch.value());
      n = 0;
    }
    batch.add(item);
    ++n;
  }
  const bool fill = a.has(1) && !a[1]->is(Kind::kNone);
  if (n == 0) return out.iterator();
  for (; fill && n < size; ++n) batch.add(*a[1]);
  out.add(batch.value());
  return out.iterator();
}

Value items_filter(Budget& budget, const Value& v, const Bound&) {
  return Value::iterator(budget, v.is(Kind::kUndefined) ? List() : pairs_of(budget, v));
}

Arguments without_first(const Arguments& arguments, std::size_t n) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + static_cast<std::ptrdiff_t>(n));
  return rest;
}

}  // namespace

std::size_t length_of(Budget& budget, const Value& value) {
  if (value.is(Kind::kUndefined)) return 0;
  if (value.is(Kind::kString)) return CodePoints(budget, value.text().bytes).size();
  if (value.is(Kind::kList)) return value.list().size();
  if (value.is(Kind::kDict)) return value.dict().size();
  budget.fail(fmt::format("takes the length of {}", kind_name(value)));
}

// select, reject, selectattr, rejectattr: [attribute,] [test, arguments of the test]
Value choose(Budget& budget, const Value& value, const Arguments& arguments, bool by_attribute, bool keep) {
  if (!value.truthy()) return Value::iterator(budget, {});
  const std::size_t n_before = by_attribute ? 1 : 0, n = arguments.positional.size();
  if (n < n_before) budget.fail("uses |selectattr or |rejectattr without the name of an attribute");
  if (n == n_before && !arguments.keyword.empty())
    budget.fail(fmt::format("gives a selecting filter the unknown argument '{}'", arguments.keyword[0].first));
  const Arguments rest = n > n_before ? without_first(arguments, n_before + 1) : Arguments();
  ListBuilder out(budget);
  const Value items = items_of(budget, value);
  for (const Value& item : items.list()) {
    const Value subject = by_attribute ? deep_attribute(budget, item, arguments.positional[0]) : item;
    const bool holds = n > n_before
                           ? apply_test(budget, to_text(budget, arguments.positional[n_before]).bytes, subject, rest)
                           : subject.truthy();
    if (holds == keep) out.add(item);
  }
  return out.iterator();
}

Value map(Budget& budget, const Value& value, const Arguments& arguments) {
  if (!value.truthy()) return Value::iterator(budget, {});
  ListBuilder out(budget);
  const Value items = items_of(budget, value);
  if (arguments.positional.empty()) {
    const Bound bound(budget, "|map", "attribute default", 1, arguments);
    for (const Value& item : items.list()) out.add(deep_attribute(budget, item, *bound[0], bound[1]));
    return out.iterator();
  }
  const std::string name = to_text(budget, arguments.positional[0]).bytes;
  const Arguments rest = without_first(arguments, 1);
  for (const Value& item : items.list()) out.add(apply_filter(budget, name, item, rest));
  return out.iterator();
}

std::span<const FilterEntry> list_filters() {
  static const FilterEntry all[] = {
      {"join", "d attribute", 0, joined},
      {"first", "", 0, first},
      {"last", "", 0, last},
      {"list", "", 0, listed},
      {"items", "", 0, items_filter},
      {"dictsort", "case_sensitive by reverse", 0, sorted_dict},
      {"sort", "reverse case_sensitive attribute", 0, sorted},
      {"unique", "case_sensitive attribute", 0, unique},
      {"min", "case_sensitive attribute", 0, extreme<false>},
      {"max", "case_sensitive attribute", 0, extreme<true>},
      {"sum", "attribute start", 0, summed},
      {"reverse", "", 0, reversed},
      {"batch", "linecount fill_with", 1, batched},
  };
  return all;
}

}  // namespace dodeca::runtime::jinja
