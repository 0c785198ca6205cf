// Values of the chat-template interpreter. Every byte of a string knows whether it came from a user's message: that
// mark travels through all string operations and ends up in the rendered prompt, where marked text cannot become
// control tokens. Strings, lists and mappings never change once made and nest at most kMaxDepth deep, so that whatever
// walks a value (printing, comparing, freeing) ends, and nothing refers to itself.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/load/json.hpp"
#include "runtime/text/jinja_budget.hpp"

namespace dodeca::runtime::jinja {

inline constexpr std::size_t kMaxTextBytes = std::size_t{16} << 20;
inline constexpr int kMaxDepth = 128;

struct Text {
  std::string bytes;
  std::string marks;  // as long as bytes: '\1' for a user's byte, '\0' for the template's

  Text() = default;
  Text(std::string_view text, bool user = false) : bytes(text), marks(text.size(), user ? '\1' : '\0') {}
  std::size_t size() const { return bytes.size(); }
};

struct Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<Value, Value>>;  // in order of insertion
using Integer = __int128;                           // Python's have no end; what does not fit is refused

enum class Kind {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kDict,
  kIterator,   // a generator: can be walked once
  kNamespace,  // the only thing that changes
  kMacro,
  kMethod,    // an object's, by name
  kFunction,  // a global one, by name
  kLoop
};
enum class ListKind { kList, kTuple, kRange, kKeys, kValues, kItems };

struct Object {
  Object(Budget& budget, std::size_t bytes, int nesting);
  virtual ~Object() = default;
  Held held;
  int depth;
};
struct TextObject;
struct ListObject;
struct DictObject;
struct IteratorObject;
struct MethodObject;
struct LoopObject;
struct Namespace;
struct Macro;

struct Value {
  Kind kind = Kind::kUndefined;
  bool safe = false;  // kString: Jinja's Markup, which escapes what it meets
  union {
    Integer integer = 0;  // kInt and kBool
    double real;
    const Macro* macro;
    Namespace* space;
  };
  std::shared_ptr<const Object> object;  // strings and containers; kUndefined and kFunction: the name

  static Value none();
  static Value of(bool b);
  static Value of(Integer i);
  static Value of(std::size_t n) { return of(static_cast<Integer>(n)); }
  static Value of(int n) { return of(static_cast<Integer>(n)); }
  static Value of(double d);
  static Value of(Budget& budget, Text text);
  static Value of(Budget& budget, std::string_view text) { return of(budget, Text(text)); }
  static Value of(Budget& budget, List list, ListKind kind = ListKind::kList);
  static Value of(Budget& budget, Dict dict);
  static Value iterator(Budget& budget, List list);
  static Value method(Budget& budget, const Value& self, std::string_view name);
  static Value function(Budget& budget, std::string_view name);
  static Value undefined(Budget& budget, std::string_view name);

  bool is(Kind k) const { return kind == k; }
  bool is(ListKind k) const;
  bool is_number() const { return kind == Kind::kBool || kind == Kind::kInt || kind == Kind::kFloat; }
  bool is_integral() const { return kind == Kind::kBool || kind == Kind::kInt; }
  double as_real() const { return kind == Kind::kFloat ? real : static_cast<double>(integer); }
  bool truthy() const;
  int depth() const { return object ? object->depth : 0; }
  const Text& text() const;  // of a string; of an undefined value or a function the name
  const List& list() const;
  const Dict& dict() const;
  template <class T>
  const T& as() const {
    return static_cast<const T&>(*object);
  }
};

struct TextObject : Object {
  TextObject(Budget& budget, Text t) : Object(budget, 2 * t.size(), 0), text(std::move(t)) {}
  Text text;
};
struct ListObject : Object {
  ListObject(Budget& budget, List l, ListKind k);
  List items;
  ListKind kind;
};
struct DictObject : Object {
  DictObject(Budget& budget, Dict d);
  Dict entries;
};
struct IteratorObject : Object {
  IteratorObject(Budget& budget, List l);
  List items;
  mutable std::size_t position = 0;
};
struct MethodObject : Object {
  MethodObject(Budget& budget, const Value& s, std::string_view n)
      : Object(budget, n.size(), s.depth() + 1), self(s), name(n) {}
  Value self;
  std::string name;
};
struct LoopObject : Object {
  LoopObject(Budget& budget, Value walked, int level);
  Value items;  // kList
  int level;    // how many loops of one recursion are around it
  std::size_t index = 0;
  const void* node = nullptr;  // of a recursive loop; and the scope that it stands in
  std::size_t scope = 0;
  std::uint64_t scope_number = 0;
  bool has_seen = false;
  std::vector<Value> seen;  // the last arguments of loop.changed()
};
struct Namespace {
  Namespace(Budget& budget) : held(budget, 256) {}
  Held held;
  std::vector<std::pair<std::string, Value>> entries;
};

// The only ways to make long strings and lists: both charge as they grow.
class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : held_(budget, 0) {}
  TextBuilder(TextBuilder&&) noexcept = default;
  TextBuilder& operator=(TextBuilder&&) noexcept = default;
  TextBuilder& add(std::string_view bytes, bool user = false);
  TextBuilder& add(const Text& text) { return add(text, 0, text.size()); }
  TextBuilder& add(const Text& text, std::size_t pos, std::size_t n);
  std::size_t size() const { return text_.size(); }
  Text take();
  Value value();

 private:
  void charge(std::size_t n);
  Held held_;
  Text text_;
};

class ListBuilder {
 public:
  explicit ListBuilder(Budget& budget) : held_(budget, 0) {}
  void add(Value value);
  bool empty() const { return items_.empty(); }
  List& items() { return items_; }  // to reorder, not to grow
  List take();
  Value value(ListKind kind = ListKind::kList) { return Value::of(held_.budget(), take(), kind); }
  Value iterator() { return Value::iterator(held_.budget(), take()); }

 private:
  Held held_;
  List items_;
};

Text part(Budget& budget, const Text& text, std::size_t pos, std::size_t n = std::string::npos);
Value from_json(Budget& budget, const Json& json, bool user);
std::string kind_name(const Value& value);
// What a value costs whoever looks at all of it, not at what is in its items.
std::uint64_t weight(const Value& value);
// What a for loop sees: items, keys, characters; takes what is left of an iterator. A list is handed on as it is.
Value items_of(Budget& budget, const Value& value);
// Code points of a string as positions of their first bytes, the end included: what Python's indices count.
class CodePoints {
 public:
  CodePoints(Budget& budget, std::string_view text);
  std::size_t size() const { return size_; }  // without the end
  std::size_t operator[](std::size_t i) const { return starts_.empty() ? i : starts_[i]; }

 private:
  Held held_;
  std::size_t size_;
  std::vector<std::uint32_t> starts_;  // empty when every byte is a character
};

}  // namespace dodeca::runtime::jinja
