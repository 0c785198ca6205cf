// Filters, tests and methods, by name. Arguments are bound by the signatures that Jinja2 and Python give them: one that
// is unknown, missing or too many is refused by name.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/text/jinja_value.hpp"

namespace dodeca::runtime::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

// Arguments in the order of a signature; null where none was given.
class Bound {
 public:
  // parameters: names separated by spaces, "_" for one that has no keyword; `who` is for messages.
  Bound(Budget& budget, std::string_view who, std::string_view parameters, std::size_t n_required,
        const Arguments& arguments);
  const Value* operator[](std::size_t i) const { return values_[i]; }
  bool has(std::size_t i) const { return values_[i] != nullptr; }
  bool truthy(std::size_t i) const { return values_[i] && values_[i]->truthy(); }
  Integer integer(std::size_t i, Integer fallback) const;
  const Text& text(std::size_t i) const;           // must be a string
  const Value* text_or_none(std::size_t i) const;  // null for None and what was not given

 private:
  Budget& budget_;
  std::string who_;
  std::vector<const Value*> values_;
};

Value apply_filter(Budget& budget, std::string_view name, const Value& value, const Arguments& arguments);
bool apply_test(Budget& budget, std::string_view name, const Value& value, const Arguments& arguments);
Value call_method(Budget& budget, std::string_view name, const Value& object, const Arguments& arguments);
// Whether Jinja2 has one of the name, and so whether it would read a template that uses it.
bool is_filter(std::string_view name);
bool is_test(std::string_view name);

// The pieces that filters and tests are made of.
struct FilterEntry {
  std::string_view name, parameters;
  std::size_t n_required;
  Value (*apply)(Budget&, const Value&, const Bound&);
};
std::span<const FilterEntry> text_filters();  // on numbers, texts and any value
std::span<const FilterEntry> list_filters();
Value choose(Budget& budget, const Value& value, const Arguments& arguments, bool by_attribute, bool keep);
Value map(Budget& budget, const Value& value, const Arguments& arguments);
std::size_t length_of(Budget& budget, const Value& value);

}  // namespace dodeca::runtime::jinja
