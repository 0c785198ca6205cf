// Values of the chat-template interpreter. Every byte of a string knows whether it came from a user's message: that
// mark travels through all string operations and ends up in the rendered prompt, where marked text cannot become
// control tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/load/json.hpp"

namespace dodeca::runtime::jinja {

struct Text {
  std::string bytes;
  std::string marks;  // as long as bytes: '\1' for a user's byte, '\0' for the template's

  Text() = default;
  Text(std::string_view text, bool user = false) : bytes(text), marks(text.size(), user ? '\1' : '\0') {}
  Text sub(std::size_t pos, std::size_t n = std::string::npos) const;
  Text& append(const Text& other);      // Error{kBadRequest} beyond the size limit of a prompt
  Text repeated(std::int64_t n) const;  // likewise
  std::size_t size() const { return bytes.size(); }
};

struct Macro;
struct Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<Text, Value>>;  // in order of insertion

enum class Kind { kUndefined, kNone, kBool, kInt, kFloat, kString, kList, kDict, kNamespace, kMacro };

struct Value {
  Kind kind = Kind::kUndefined;
  bool boolean = false;
  bool tuple = false;  // kList: a Python tuple, which only its text shows
  std::int64_t integer = 0;
  double real = 0;
  std::shared_ptr<const Text> string;  // kString; kUndefined: the name, for messages
  std::shared_ptr<List> list;
  std::shared_ptr<Dict> dict;  // kDict and kNamespace
  const Macro* macro = nullptr;

  static Value none();
  static Value of(bool b);
  static Value of(std::int64_t i);
  static Value of(double d);
  static Value of(Text text);
  static Value of(List list);
  static Value of(Dict dict, Kind kind = Kind::kDict);
  static Value undefined(std::string_view name);

  bool is(Kind k) const { return kind == k; }
  bool is_number() const { return kind == Kind::kBool || kind == Kind::kInt || kind == Kind::kFloat; }
  bool is_integral() const { return kind == Kind::kBool || kind == Kind::kInt; }
  std::int64_t as_integer() const { return kind == Kind::kBool ? boolean : integer; }
  double as_real() const { return kind == Kind::kFloat ? real : static_cast<double>(as_integer()); }
  bool truthy() const;
  const Value* find(std::string_view key) const;  // of a dict or namespace; null when absent
};

Value from_json(const Json& json, bool user);
std::string_view kind_name(const Value& value);
bool equal(const Value& a, const Value& b);
Text to_text(const Value& value);  // Python's str()
// json.dumps(ensure_ascii=False); indent: spaces per level, or none.
Text to_json(const Value& value, std::optional<std::int64_t> indent, bool sort_keys);
// Code points of a string as positions of their first bytes, the end included: what Python's indices count.
std::vector<std::size_t> code_points(std::string_view text);
// What a for loop sees: items, keys, characters. Error{kUnsupported} for what cannot be iterated.
List iterate(const Value& value);

// "the chat template <what>": a construct or an operation that the interpreter, or Jinja itself, refuses.
[[noreturn]] void fail(std::string_view what, int line = 0);
inline constexpr std::size_t kMaxTextBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxListItems = 1'000'000;

// Keyword and positional arguments of filters, tests, functions and methods.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
  // By position or keyword; undefined when neither.
  Value get(std::size_t position, std::string_view name) const;
  bool has(std::size_t position, std::string_view name) const { return !get(position, name).is(Kind::kUndefined); }
};

Value apply_filter(std::string_view name, const Value& value, const Arguments& args);
bool apply_test(std::string_view name, const Value& value, const Arguments& args);
Value call_method(std::string_view name, const Value& object, const Arguments& args);
bool contains(const Value& container, const Value& item);
Value attribute(const Value& object, std::string_view name);

}  // namespace dodeca::runtime::jinja
