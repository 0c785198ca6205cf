#include "runtime/text/jinja_value.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/error.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime::jinja {
namespace {

constexpr std::size_t kObjectBytes = 128;  // an object, its counter and what the allocator adds

int nesting_of(const List& list) {
  int depth = 0;
  for (const Value& item : list) depth = std::max(depth, item.depth());
  return depth + 1;
}

int nesting_of(const Dict& dict) {
  int depth = 0;
  for (const auto& [key, value] : dict) depth = std::max({depth, key.depth(), value.depth()});
  return depth + 1;
}

}  // namespace

Object::Object(Budget& budget, std::size_t bytes, int nesting) : held(budget, bytes + kObjectBytes), depth(nesting) {
  budget.work(kWorkPerItem);
  if (nesting > kMaxDepth) budget.fail(fmt::format("nests values more than {} deep", kMaxDepth));
}

ListObject::ListObject(Budget& budget, List l, ListKind k)
    : Object(budget, l.size() * sizeof(Value), nesting_of(l)), items(std::move(l)), kind(k) {
  budget.work(items.size() * kWorkPerItem);
}

DictObject::DictObject(Budget& budget, Dict d)
    : Object(budget, 2 * d.size() * sizeof(Value), nesting_of(d)), entries(std::move(d)) {
  budget.work(entries.size() * kWorkPerItem);
}

IteratorObject::IteratorObject(Budget& budget, List l)
    : Object(budget, l.size() * sizeof(Value), nesting_of(l)), items(std::move(l)) {
  budget.work(items.size() * kWorkPerItem);
}

LoopObject::LoopObject(Budget& budget, Value walked, int around)
    : Object(budget, sizeof(LoopObject), walked.depth() + 1), items(std::move(walked)), level(around) {}

void TextBuilder::charge(std::size_t n) {
  Budget& budget = held_.budget();
  budget.work(kWorkPerItem + n);
  if (n > kMaxTextBytes - text_.size()) budget.fail(fmt::format("makes a text of more than {} bytes", kMaxTextBytes));
  held_.grow(2 * n);
}

TextBuilder& TextBuilder::add(std::string_view bytes, bool user) {
  charge(bytes.size());
  text_.bytes += bytes;
  text_.marks.append(bytes.size(), user ? '\1' : '\0');
  return *this;
}

TextBuilder& TextBuilder::add(const Text& text, std::size_t pos, std::size_t n) {
  n = std::min(n, text.size() - pos);
  charge(n);
  text_.bytes.append(text.bytes, pos, n);
  text_.marks.append(text.marks, pos, n);
  return *this;
}

Text TextBuilder::take() {
  held_.clear();
  return std::exchange(text_, Text());
}

Value TextBuilder::value() { return Value::of(held_.budget(), take()); }

void ListBuilder::add(Value value) {
  held_.budget().work(kWorkPerItem);
  held_.grow(sizeof(Value));
  items_.push_back(std::move(value));
}

List ListBuilder::take() {
  held_.clear();
  return std::exchange(items_, List());
}

Value Value::none() {
  Value v;
  v.kind = Kind::kNone;
  return v;
}
Value Value::of(bool b) {
  Value v;
  v.kind = Kind::kBool;
  v.integer = b;
  return v;
}
Value Value::of(Integer i) {
  Value v;
  v.kind = Kind::kInt;
  v.integer = i;
  return v;
}
Value Value::of(double d) {
  Value v;
  v.kind = Kind::kFloat;
  v.real = d;
  return v;
}
Value Value::of(Budget& budget, Text text) {
  Value v;
  v.kind = Kind::kString;
  v.object = std::make_shared<TextObject>(budget, std::move(text));
  return v;
}
Value Value::of(Budget& budget, List list, ListKind kind) {
  Value v;
  v.kind = Kind::kList;
  v.object = std::make_shared<ListObject>(budget, std::move(list), kind);
  return v;
}
Value Value::of(Budget& budget, Dict dict) {
  Value v;
  v.kind = Kind::kDict;
  v.object = std::make_shared<DictObject>(budget, std::move(dict));
  return v;
}
Value Value::iterator(Budget& budget, List list) {
  Value v;
  v.kind = Kind::kIterator;
  v.object = std::make_shared<IteratorObject>(budget, std::move(list));
  return v;
}
Value Value::method(Budget& budget, const Value& self, std::string_view name) {
  Value v;
  v.kind = Kind::kMethod;
  v.object = std::make_shared<MethodObject>(budget, self, name);
  return v;
}
Value Value::function(Budget& budget, std::string_view name) {
  Value v = undefined(budget, name);
  v.kind = Kind::kFunction;
  return v;
}
Value Value::undefined(Budget& budget, std::string_view name) {
  Value v;
  v.object = std::make_shared<TextObject>(budget, Text(name));
  return v;
}

bool Value::is(ListKind k) const { return kind == Kind::kList && as<ListObject>().kind == k; }

bool Value::truthy() const {
  switch (kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return integer != 0;
    case Kind::kFloat:
      return real != 0;
    case Kind::kString:
      return text().size() > 0;
    case Kind::kList:
      return !list().empty();
    case Kind::kDict:
      return !dict().empty();
    default:
      return true;
  }
}

const Text& Value::text() const {
  static const Text nothing;
  return object ? as<TextObject>().text : nothing;
}
const List& Value::list() const { return as<ListObject>().items; }
const Dict& Value::dict() const { return as<DictObject>().entries; }

Text part(Budget& budget, const Text& text, std::size_t pos, std::size_t n) {
  return TextBuilder(budget).add(text, pos, n).take();
}

Value from_json(Budget& budget, const Json& json, bool user) {
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value::of(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::of(static_cast<Integer>(json.get<std::int64_t>()));
    case Json::value_t::number_unsigned:
      return Value::of(static_cast<Integer>(json.get<std::uint64_t>()));
    case Json::value_t::number_float:
      return Value::of(json.get<double>());
    case Json::value_t::string:
      return TextBuilder(budget).add(json.get_ref<const std::string&>(), user).value();
    case Json::value_t::array: {
      ListBuilder list(budget);
      for (const Json& item : json) list.add(from_json(budget, item, user));
      return list.value();
    }
    case Json::value_t::object: {
      Dict dict;
      for (auto it = json.begin(); it != json.end(); ++it) {
        dict.emplace_back(TextBuilder(budget).add(it.key(), user).value(), from_json(budget, it.value(), user));
      }
      return Value::of(budget, std::move(dict));
    }
    default:
      return Value::none();
  }
}

std::string kind_name(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return value.text().size() == 0 ? "an undefined value"
                                      : fmt::format("'{}', which is undefined", value.text().bytes.substr(0, 80));
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a boolean";
    case Kind::kInt:
      return "an integer";
    case Kind::kFloat:
      return "a number";
    case Kind::kString:
      return value.safe ? "a text marked as safe" : "a string";
    case Kind::kList: {
      static constexpr const char* kNames[] = {"a list", "a tuple", "a range", "keys()", "values()", "items()"};
      return kNames[static_cast<std::size_t>(value.as<ListObject>().kind)];
    }
    case Kind::kDict:
      return "a mapping";
    case Kind::kIterator:
      return "a generator (a filter's result without |list)";
    case Kind::kNamespace:
      return "a namespace";
    case Kind::kMacro:
      return "a macro";
    case Kind::kMethod:
      return fmt::format("the method {}()", value.as<MethodObject>().name);
    case Kind::kFunction:
      return fmt::format("the function {}()", value.text().bytes);
    case Kind::kLoop:
      return "a loop";
  }
  return "a value";
}

std::uint64_t weight(const Value& value) {
  switch (value.kind) {
    case Kind::kString:
      return kWorkPerItem + value.text().size();
    case Kind::kList:
      return kWorkPerItem * (1 + value.list().size());
    case Kind::kDict:
      return kWorkPerItem * (1 + value.dict().size());
    case Kind::kIterator:
      return kWorkPerItem * (1 + value.as<IteratorObject>().items.size());
    default:
      return kWorkPerItem;
  }
}

Value items_of(Budget& budget, const Value& value) {
  ListBuilder out(budget);
  switch (value.kind) {
    case Kind::kUndefined:
      break;
    case Kind::kList:
      return value;
    case Kind::kDict:
      for (const auto& entry : value.dict()) out.add(entry.first);
      break;
    case Kind::kIterator: {
      const auto& iterator = value.as<IteratorObject>();
      for (; iterator.position < iterator.items.size(); ++iterator.position) {
        out.add(iterator.items[iterator.position]);
      }
      break;
    }
    case Kind::kString: {
      const CodePoints starts(budget, value.text().bytes);
      for (std::size_t i = 0; i < starts.size(); ++i) {
        out.add(Value::of(budget, part(budget, value.text(), starts[i], starts[i + 1] - starts[i])));
      }
      break;
    }
    default:
      budget.fail(fmt::format("iterates over {}", kind_name(value)));
  }
  return out.value();
}

CodePoints::CodePoints(Budget& budget, std::string_view text) : held_(budget, 0), size_(text.size()) {
  budget.work(4 * text.size());
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; })) return;
  held_.grow((text.size() + 1) * sizeof(std::uint32_t));
  starts_.reserve(text.size() + 1);
  for (std::size_t pos = 0; pos < text.size(); pos += utf8::step_at(text, pos)) {
    starts_.push_back(static_cast<std::uint32_t>(pos));
  }
  size_ = starts_.size();
  starts_.push_back(static_cast<std::uint32_t>(text.size()));
}

}  // namespace dodeca::runtime::jinja
