// Arithmetic, slices, items and attributes.
#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_operators.hpp"

namespace dodeca::runtime::jinja {
namespace {

constexpr Integer kExactReal = Integer{1} << 53;

[[noreturn]] void cannot(Budget& budget, std::string_view op, const Value& a, const Value& b) {
  budget.fail(fmt::format("computes {} {} {}", kind_name(a), op, kind_name(b)));
}

Value repeated(Budget& budget, const Value& value, Integer n) {
  const auto times = static_cast<std::size_t>(std::clamp<Integer>(n, 0, kMaxTextBytes + 1));
  if (value.is(Kind::kString)) {
    TextBuilder out(budget);
    for (std::size_t i = 0; i < times && value.text().size() > 0; ++i) out.add(value.text());
    return out.value();
  }
  ListBuilder out(budget);
  for (std::size_t i = 0; i < times && !value.list().empty(); ++i) {
    for (const Value& item : value.list()) out.add(item);
  }
  return out.value(value.as<ListObject>().kind);
}

Integer floor_divided(Integer x, Integer y) {
  const Integer quotient = x / y;
  return quotient * y != x && (x < 0) != (y < 0) ? quotient - 1 : quotient;
}

Value power(Budget& budget, Integer x, Integer y) {
  if (y < 0) {
    if (x == 0) budget.fail("divides by zero");
    if (x > kExactReal || x < -kExactReal) budget.fail("computes a power that is too large");
    return Value::of(std::pow(static_cast<double>(x), static_cast<double>(y)));
  }
  if (x == 0 || x == 1) return Value::of(y == 0 ? Integer{1} : x);
  if (x == -1) return Value::of(y % 2 == 0 ? Integer{1} : x);
  Integer result = 1;
  bool overflow = y > 127;
  for (Integer i = 0; i < y && !overflow; ++i) overflow = __builtin_mul_overflow(result, x, &result);
  if (overflow) budget.fail("computes an integer that is too large");
  return Value::of(result);
}

Value integer_arithmetic(Budget& budget, std::string_view op, Integer x, Integer y) {
  if (op == "**") return power(budget, x, y);
  Integer result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(x, y, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(x, y, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(x, y, &result);
  } else if (y == 0) {
    budget.fail("divides by zero");
  } else if (op == "/") {
    if (std::max({x, y, -x, -y}) > kExactReal) budget.fail("divides integers that are too large");
    return Value::of(static_cast<double>(x) / static_cast<double>(y));
  } else if (y == -1) {
    overflow = op == "//" && __builtin_sub_overflow(Integer{0}, x, &result);
  } else {
    result = op == "//" ? floor_divided(x, y) : x - floor_divided(x, y) * y;
  }
  if (overflow) budget.fail("computes an integer that is too large");
  return Value::of(result);
}

// Python's float remainder has the sign of the divisor, and the quotient is its exact complement.
Value real_division(Budget& budget, std::string_view op, double x, double y) {
  if (y == 0) budget.fail("divides by zero");
  if (op == "/") return Value::of(x / y);
  double rest = std::fmod(x, y), quotient = (x - rest) / y;
  if (rest != 0) {
    if ((y < 0) != (rest < 0)) rest += y, quotient -= 1;
  } else {
    rest = std::copysign(0.0, y);
  }
  if (op == "%") return Value::of(rest);
  if (quotient == 0) return Value::of(std::copysign(0.0, x / y));
  const double whole = std::floor(quotient);
  return Value::of(quotient - whole > 0.5 ? whole + 1 : whole);
}

Value real_arithmetic(Budget& budget, std::string_view op, double x, double y) {
  if (op == "+") return Value::of(x + y);
  if (op == "-") return Value::of(x - y);
  if (op == "*") return Value::of(x * y);
  if (op != "**") return real_division(budget, op, x, y);
  if (x == 0 && y < 0) budget.fail("divides by zero");
  if (x < 0 && y != std::floor(y)) budget.fail("computes a complex number");
  const double result = std::pow(x, y);
  if (std::isinf(result) && std::isfinite(x) && std::isfinite(y)) budget.fail("computes a power that is too large");
  return Value::of(result);
}

// Whether `name` is one of the words of `names`. It comes from the template: it may be empty or have blanks itself.
bool has(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const std::size_t end = std::min(names.find(' '), names.size());
    if (end > 0 && names.substr(0, end) == name) return true;
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return false;
}

// What Python's types have, and what an immutable sandbox hides of it.
struct TypeNames {
  std::string_view methods, hidden;
};
TypeNames names_of(const Value& object) {
  switch (object.kind) {
    case Kind::kString:
      return {
          " capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha "
          "isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust "
          "lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit "
          "rstrip split splitlines startswith strip swapcase title translate upper zfill ",
          ""};
    case Kind::kDict:
      return {" copy fromkeys get items keys values ", " clear pop popitem setdefault update "};
    case Kind::kList:
      switch (object.as<ListObject>().kind) {
        case ListKind::kList:
          return {" copy count index ", " append clear extend insert pop remove reverse sort "};
        case ListKind::kTuple:
          return {" count index ", ""};
        case ListKind::kRange:
          return {" count index start step stop ", ""};
        default:
          return {" isdisjoint mapping ", ""};
      }
    case Kind::kBool:
    case Kind::kInt:
      return {
          " as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag is_integer numerator real "
          "to_bytes ",
          ""};
    case Kind::kFloat:
      return {" as_integer_ratio conjugate fromhex hex imag is_integer real ", ""};
    case Kind::kIterator:
      return {" close send throw ", ""};
    default:
      return {"", ""};
  }
}

Value loop_attribute(Budget& budget, const Value& loop, std::string_view name) {
  const auto& state = loop.as<LoopObject>();
  const List& items = state.items.list();
  const std::size_t i = state.index, n = items.size();
  if (name == "index") return Value::of(i + 1);
  if (name == "index0") return Value::of(i);
  if (name == "revindex") return Value::of(n - i);
  if (name == "revindex0") return Value::of(n - i - 1);
  if (name == "first") return Value::of(i == 0);
  if (name == "last") return Value::of(i + 1 == n);
  if (name == "length") return Value::of(n);
  if (name == "depth") return Value::of(state.level + 1);
  if (name == "depth0") return Value::of(state.level);
  if (name == "previtem" && i > 0) return items[i - 1];
  if (name == "nextitem" && i + 1 < n) return items[i + 1];
  if (name == "cycle" || name == "changed") return Value::method(budget, loop, name);
  return Value::undefined(budget, fmt::format("loop.{}", name));
}

}  // namespace

Value arithmetic(Budget& budget, std::string_view op, const Value& a, const Value& b) {
  budget.work(weight(a) + weight(b));
  if (op == "~") {
    TextBuilder out(budget);
    return out.add(to_text(budget, a)).add(to_text(budget, b)).value();
  }
  if (a.safe || b.safe) cannot(budget, op, a, b);
  if (a.is(Kind::kString) && op == "%") return Value::of(budget, format_percent(budget, a.text(), b));
  if (op == "+" && a.is(Kind::kString) && b.is(Kind::kString)) {
    TextBuilder out(budget);
    return out.add(a.text()).add(b.text()).value();
  }
  const auto repeats = [](const Value& v) {
    return v.is(Kind::kString) || v.is(ListKind::kList) || v.is(ListKind::kTuple);
  };
  if (op == "+" && repeats(a) && a.kind == b.kind && a.as<ListObject>().kind == b.as<ListObject>().kind) {
    ListBuilder out(budget);
    for (const Value& item : a.list()) out.add(item);
    for (const Value& item : b.list()) out.add(item);
    return out.value(a.as<ListObject>().kind);
  }
  if (op == "*" && repeats(a) && b.is_integral()) return repeated(budget, a, b.integer);
  if (op == "*" && repeats(b) && a.is_integral()) return repeated(budget, b, a.integer);
  if (!a.is_number() || !b.is_number()) cannot(budget, op, a, b);
  if (a.is_integral() && b.is_integral()) return integer_arithmetic(budget, op, a.integer, b.integer);
  return real_arithmetic(budget, op, a.as_real(), b.as_real());
}

Value negative(Budget& budget, const Value& value) {
  if (!value.is_number()) budget.fail(fmt::format("negates {}", kind_name(value)));
  return value.is_integral() ? integer_arithmetic(budget, "-", 0, value.integer) : Value::of(-value.real);
}

Value python_attribute(Budget& budget, const Value& object, std::string_view name) {
  if (object.is(Kind::kUndefined)) budget.fail(fmt::format("asks {} for '{}'", kind_name(object), name));
  if (object.is(Kind::kLoop)) return loop_attribute(budget, object, name);
  const TypeNames names = names_of(object);
  if (has(names.methods, name)) {
    if (object.safe) budget.fail(fmt::format("calls {}() on {}", name, kind_name(object)));
    return Value::method(budget, object, name);
  }
  if (object.is(Kind::kNamespace)) {
    for (const auto& [key, value] : object.space->entries) {
      budget.work(1);
      if (key == name) return value;
    }
  }
  if (object.is(Kind::kMacro)) budget.fail(fmt::format("asks a macro for '{}'", name));
  return Value::undefined(budget, name);
}

Value attribute(Budget& budget, const Value& object, std::string_view name) {
  Value found = python_attribute(budget, object, name);
  if (!found.is(Kind::kUndefined) || !object.is(Kind::kDict) || has(names_of(object).hidden, name)) return found;
  if (name.starts_with("__") && name.ends_with("__")) return found;
  const Value* entry = find(budget, object.dict(), name);
  return entry ? *entry : found;
}

Value item(Budget& budget, const Value& object, const Value& key) {
  if (object.is(Kind::kUndefined)) budget.fail(fmt::format("asks {} for an item", kind_name(object)));
  if (object.is(Kind::kDict)) {
    const bool hashable = !key.is(Kind::kList) || key.is(ListKind::kTuple);
    const Value* found = hashable && !key.is(Kind::kDict) ? find(budget, object.dict(), key) : nullptr;
    if (found) return *found;
  }
  const bool indexed = object.is(Kind::kString) || object.is(ListKind::kList) || object.is(ListKind::kTuple) ||
                       object.is(ListKind::kRange);
  if (key.is_integral() && indexed) {
    const auto at = [&key](std::size_t n) {
      const Integer index = key.integer < 0 ? key.integer + static_cast<Integer>(n) : key.integer;
      return index >= 0 && index < static_cast<Integer>(n) ? static_cast<std::size_t>(index) : n;
    };
    if (object.is(Kind::kList)) {
      const std::size_t i = at(object.list().size());
      return i < object.list().size() ? object.list()[i] : Value::undefined(budget, "an item");
    }
    const CodePoints starts(budget, object.text().bytes);
    const std::size_t i = at(starts.size());
    if (i == starts.size()) return Value::undefined(budget, "an item");
    return Value::of(budget, part(budget, object.text(), starts[i], starts[i + 1] - starts[i]));
  }
  if (key.is(Kind::kString)) return python_attribute(budget, object, key.text().bytes);
  return Value::undefined(budget, "an item");
}

Value slice(Budget& budget, const Value& object, const Value& begin, const Value& end, const Value& step) {
  const bool text = object.is(Kind::kString);
  if (object.safe || (!text && (!object.is(Kind::kList) || object.as<ListObject>().kind >= ListKind::kKeys)))
    budget.fail(fmt::format("slices {}", kind_name(object)));
  const CodePoints starts(budget, text ? std::string_view(object.text().bytes) : std::string_view());
  const auto n = static_cast<Integer>(text ? starts.size() : object.list().size());
  const auto bound = [&](const Value& value, Integer fallback) -> Integer {
    if (value.is(Kind::kNone)) return fallback;
    if (!value.is_integral()) budget.fail(fmt::format("slices with {}", kind_name(value)));
    return value.integer;
  };
  const Integer by = std::clamp<Integer>(bound(step, 1), -n - 1, n + 1);
  if (bound(step, 1) == 0) budget.fail("slices with a step of zero");
  const Integer low = by > 0 ? 0 : -1, high = by > 0 ? n : n - 1;
  const auto place = [&](const Value& value, Integer fallback) {
    if (value.is(Kind::kNone)) return fallback;
    const Integer at = bound(value, 0);
    return std::clamp(at < 0 ? at + n : at, low, high);
  };
  const Integer first = place(begin, by > 0 ? low : high), last = place(end, by > 0 ? high : low);
  const auto at = [&](Integer i) { return starts[i]; };
  if (text && by == 1)
    return Value::of(budget, first < last ? part(budget, object.text(), at(first), at(last) - at(first)) : Text());
  ListBuilder items(budget);
  TextBuilder out(budget);
  for (Integer i = first; by > 0 ? i < last : i > last; i += by) {
    if (text) {
      out.add(object.text(), at(i), at(i + 1) - at(i));
    } else {
      items.add(object.list()[i]);
    }
  }
  return text ? out.value() : items.value(object.as<ListObject>().kind);
}

}  // namespace dodeca::runtime::jinja
