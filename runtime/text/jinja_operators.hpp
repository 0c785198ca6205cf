// What Python's operators do with the interpreter's values. Each charges the budget for what it touches and refuses
// what Python would refuse.
#pragma once

#include <string>
#include <string_view>

#include "runtime/text/jinja_value.hpp"

namespace dodeca::runtime::jinja {

bool equal(Budget& budget, const Value& a, const Value& b);
// -1, 0, 1; 2: not ordered (a NaN).
int order(Budget& budget, const Value& a, const Value& b);
bool compare(Budget& budget, std::string_view op, const Value& a, const Value& b);
bool contains(Budget& budget, const Value& container, const Value& item);
// Equal values have equal keys, as in Python's sets; refuses what cannot be hashed.
std::string hash_key(Budget& budget, const Value& value);
// The value of a key, or null.
const Value* find(Budget& budget, const Dict& dict, const Value& key);
const Value* find(Budget& budget, const Dict& dict, std::string_view key);
// Adds an entry, or replaces the value of an equal key.
void put(Budget& budget, Dict& dict, Value key, Value value);

Value arithmetic(Budget& budget, std::string_view op, const Value& a, const Value& b);
Value negative(Budget& budget, const Value& value);
// object.name: methods before items, as in Jinja; undefined when there is neither.
Value attribute(Budget& budget, const Value& object, std::string_view name);
// object[key]: items before methods.
Value item(Budget& budget, const Value& object, const Value& key);
// A method or attribute that Python's type has; undefined when there is none.
Value python_attribute(Budget& budget, const Value& object, std::string_view name);
// object[begin:end:step]; none for what was left out.
Value slice(Budget& budget, const Value& object, const Value& begin, const Value& end, const Value& step);

// str(), repr() and json.dumps().
Text to_text(Budget& budget, const Value& value);
Text to_repr(Budget& budget, const Value& value);
struct JsonStyle {
  std::string item_separator = ", ", key_separator = ": ";
  std::optional<std::string> indent;  // of one level
  bool ensure_ascii = false, sort_keys = false;
};
Text to_json(Budget& budget, const Value& value, const JsonStyle& style);
// 'pattern' % values
Text format_percent(Budget& budget, const Text& pattern, const Value& values);

}  // namespace dodeca::runtime::jinja
