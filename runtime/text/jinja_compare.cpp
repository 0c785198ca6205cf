// Comparing, ordering and looking up.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/jinja_strings.hpp"

namespace dodeca::runtime::jinja {
namespace {

// As exactly as Python: no rounding of large integers.
int order_numbers(const Value& a, const Value& b) {
  const auto sign = [](auto x, auto y) { return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2; };
  if (a.is_integral() && b.is_integral()) return sign(a.integer, b.integer);
  if (!a.is_integral() && !b.is_integral()) return sign(a.real, b.real);
  const double real = a.is_integral() ? b.real : a.real;
  const Integer integer = a.is_integral() ? a.integer : b.integer;
  int result = 0;  // of the integer to the real
  if (std::isnan(real)) return 2;
  if (real >= 0x1p126 || real <= -0x1p126) {
    result = real > 0 ? -1 : 1;
  } else {
    const auto whole = static_cast<Integer>(real);  // towards zero
    result = integer != whole ? sign(integer, whole) : sign(0.0, real - static_cast<double>(whole));
  }
  return a.is_integral() ? result : -result;
}

bool same_object(const Value& a, const Value& b) {
  return a.kind == b.kind && a.object && a.object == b.object && a.kind != Kind::kUndefined;
}

bool equal_dicts(Budget& budget, const Dict& a, const Dict& b) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.begin(), a.end(), [&](const auto& entry) {
    const Value* other = find(budget, b, entry.first);
    return other && equal(budget, entry.second, *other);
  });
}

bool equal_lists(Budget& budget, const Value& a, const Value& b) {
  const ListKind x = a.as<ListObject>().kind, y = b.as<ListObject>().kind;
  if (x != y) {
    if (x >= ListKind::kKeys && y >= ListKind::kKeys) budget.fail("compares views of mappings");
    return false;
  }
  if (x == ListKind::kValues) return false;  // dict.values() equals nothing but itself
  const List &p = a.list(), &q = b.list();
  if (p.size() != q.size()) return false;
  if (x != ListKind::kKeys && x != ListKind::kItems)
    return std::equal(p.begin(), p.end(), q.begin(),
                      [&](const Value& v, const Value& w) { return same_object(v, w) || equal(budget, v, w); });
  return std::all_of(p.begin(), p.end(), [&](const Value& v) {  // sets
    return std::any_of(q.begin(), q.end(), [&](const Value& w) { return equal(budget, v, w); });
  });
}

}  // namespace

bool equal(Budget& budget, const Value& a, const Value& b) {
  budget.work(kWorkPerItem);
  if (a.is_number() && b.is_number()) return order_numbers(a, b) == 0;
  if (a.kind != b.kind) return false;
  if (same_object(a, b)) return true;
  switch (a.kind) {
    case Kind::kString:
      budget.work(std::min(a.text().size(), b.text().size()) / 8);
      return a.text().bytes == b.text().bytes;
    case Kind::kList:
      return equal_lists(budget, a, b);
    case Kind::kDict:
      return equal_dicts(budget, a.dict(), b.dict());
    case Kind::kNamespace:
      return a.space == b.space;
    case Kind::kMacro:
      return a.macro == b.macro;
    case Kind::kFunction:
      return a.text().bytes == b.text().bytes;
    case Kind::kMethod:
      budget.fail("compares methods");
    case Kind::kIterator:
    case Kind::kLoop:
      return false;
    default:
      return true;  // None, undefined
  }
}

int order(Budget& budget, const Value& a, const Value& b) {
  budget.work(kWorkPerItem);
  if (a.is_number() && b.is_number()) return order_numbers(a, b);
  if (a.is(Kind::kString) && b.is(Kind::kString)) {
    budget.work(std::min(a.text().size(), b.text().size()) / 8);
    const int result = a.text().bytes.compare(b.text().bytes);
    return result < 0 ? -1 : result > 0;
  }
  if ((a.is(ListKind::kList) && b.is(ListKind::kList)) || (a.is(ListKind::kTuple) && b.is(ListKind::kTuple))) {
    const List &p = a.list(), &q = b.list();
    for (std::size_t i = 0; i < std::min(p.size(), q.size()); ++i) {
      if (!same_object(p[i], q[i]) && !equal(budget, p[i], q[i])) return order(budget, p[i], q[i]);
    }
    return p.size() < q.size() ? -1 : p.size() > q.size();
  }
  budget.fail(fmt::format("orders {} and {}", kind_name(a), kind_name(b)));
}

bool compare(Budget& budget, std::string_view op, const Value& a, const Value& b) {
  if (op == "==") return equal(budget, a, b);
  if (op == "!=") return !equal(budget, a, b);
  if (op == "in") return contains(budget, b, a);
  if (op == "not in") return !contains(budget, b, a);
  const int result = order(budget, a, b);
  if (result == 2) return false;
  return op == "<" ? result < 0 : op == ">" ? result > 0 : op == "<=" ? result <= 0 : result >= 0;
}

bool contains(Budget& budget, const Value& container, const Value& item) {
  switch (container.kind) {
    case Kind::kString:
      if (!item.is(Kind::kString)) budget.fail(fmt::format("looks for {} in a string", kind_name(item)));
      return find_text(budget, container.text().bytes, item.text().bytes, 0) != std::string::npos;
    case Kind::kDict:
      return find(budget, container.dict(), item) != nullptr;
    case Kind::kList:
      if (container.is(ListKind::kKeys)) hash_key(budget, item);
      return std::any_of(container.list().begin(), container.list().end(),
                         [&](const Value& v) { return same_object(v, item) || equal(budget, v, item); });
    case Kind::kIterator: {
      const auto& iterator = container.as<IteratorObject>();
      while (iterator.position < iterator.items.size()) {
        if (equal(budget, iterator.items[iterator.position++], item)) return true;
      }
      return false;
    }
    case Kind::kUndefined:
      return false;
    default:
      budget.fail(fmt::format("looks for something in {}", kind_name(container)));
  }
}

std::string hash_key(Budget& budget, const Value& value) {
  budget.work(weight(value));
  switch (value.kind) {
    case Kind::kNone:
      return "N";
    case Kind::kUndefined:
      return "U";
    case Kind::kBool:
    case Kind::kInt:
      return fmt::format("i{}", value.integer);
    case Kind::kFloat:
      if (std::abs(value.real) < 0x1p126 && value.real == std::floor(value.real))
        return fmt::format("i{}", static_cast<Integer>(value.real));
      if (std::isnan(value.real)) budget.fail("hashes a NaN");
      return fmt::format("f{}", value.real);
    case Kind::kString:
      return fmt::format("s{}:{}", value.text().size(), value.text().bytes);
    case Kind::kList:
      if (value.is(ListKind::kTuple)) {
        std::string key = "(";
        for (const Value& item : value.list()) key += hash_key(budget, item);
        if (key.size() > kMaxTextBytes) budget.fail("has a tuple as key that is too long");
        return key + ")";
      }
      [[fallthrough]];
    default:
      budget.fail(fmt::format("uses {} as a key", kind_name(value)));
  }
}

const Value* find(Budget& budget, const Dict& dict, std::string_view key) {
  budget.work(kWorkPerItem + 2 * dict.size() + key.size());
  for (const auto& [name, value] : dict) {
    if (name.is(Kind::kString) && name.text().bytes == key) return &value;
  }
  return nullptr;
}

const Value* find(Budget& budget, const Dict& dict, const Value& key) {
  if (key.is(Kind::kString)) return find(budget, dict, key.text().bytes);
  hash_key(budget, key);
  for (const auto& [name, value] : dict) {
    if (equal(budget, name, key)) return &value;
  }
  return nullptr;
}

void put(Budget& budget, Dict& dict, Value key, Value value) {
  if (const Value* old = find(budget, dict, key)) {
    *const_cast<Value*>(old) = std::move(value);
  } else {
    dict.emplace_back(std::move(key), std::move(value));
  }
}

}  // namespace dodeca::runtime::jinja
