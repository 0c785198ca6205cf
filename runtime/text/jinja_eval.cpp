// Walks the syntax tree: scopes, loops, macros, output.
#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja.hpp"
#include "runtime/text/jinja_ast.hpp"

namespace dodeca::runtime::jinja {

struct Macro {
  const Node* node;
};

namespace {

constexpr std::int64_t kMaxSteps = 40'000'000;
constexpr std::int64_t kStepsPerIteration = 20;  // a scope and a loop variable cost as much as so many nodes
constexpr std::size_t kBytesPerStep = 16;        // a long text costs by its length
constexpr int kMaxMacroDepth = 16;

enum class Flow { kNext, kBreak, kContinue };

class Renderer {
 public:
  Renderer(Dict variables, std::optional<std::int64_t> now) : now_(now) {
    scopes_.emplace_back();
    for (auto& [name, value] : variables) scopes_[0][name.bytes] = std::move(value);
  }

  Text run(const Node& root) {
    execute(root);
    return std::move(out_);
  }

 private:
  using Scope = std::map<std::string, Value, std::less<>>;

  void step(const Node& node) {
    if (++steps_ > kMaxSteps) fail(fmt::format("takes more than {} steps", kMaxSteps), node.line);
  }

  // ---- variables: the innermost scope first; a macro sees its own and the outermost
  const Value* lookup(std::string_view name) const {
    for (std::size_t i = scopes_.size(); i-- > barrier_;) {
      if (const auto found = scopes_[i].find(name); found != scopes_[i].end()) return &found->second;
    }
    const auto found = scopes_[0].find(name);
    return found == scopes_[0].end() ? nullptr : &found->second;
  }
  void assign(const std::vector<std::string>& targets, const Value& value, const Node& node) {
    if (targets.size() == 1) {
      scopes_.back()[targets[0]] = value;
      return;
    }
    const List items = iterate(value);
    if (items.size() != targets.size())
      fail(fmt::format("unpacks {} values into {} names", items.size(), targets.size()), node.line);
    for (std::size_t i = 0; i < targets.size(); ++i) scopes_.back()[targets[i]] = items[i];
  }

  // ---- statements
  Flow execute(const Node& node) {
    step(node);
    switch (node.kind) {
      case NodeKind::kData:
        out_.append(*node.value.string);
        return Flow::kNext;
      case NodeKind::kOutput:
        out_.append(to_text(evaluate(*node.children[0])));
        return Flow::kNext;
      case NodeKind::kBody:
        for (const NodePtr& child : node.children) {
          if (const Flow flow = execute(*child); flow != Flow::kNext) return flow;
        }
        return Flow::kNext;
      case NodeKind::kIf:
        return execute_if(node);
      case NodeKind::kFor:
        return execute_for(node);
      case NodeKind::kSet:
        execute_set(node);
        return Flow::kNext;
      case NodeKind::kSetBlock: {
        Text outer = std::exchange(out_, Text());
        scopes_.emplace_back();
        const Flow flow = execute(*node.children[0]);
        scopes_.pop_back();
        Value value = Value::of(std::exchange(out_, std::move(outer)));
        for (std::size_t i = 1; i < node.children.size(); ++i) {
          value = apply_filter(node.children[i]->name, value, arguments_of(*node.children[i]));
        }
        scopes_.back()[node.targets[0]] = std::move(value);
        return flow;
      }
      case NodeKind::kMacro: {
        macros_.push_back(std::make_unique<Macro>(Macro{&node}));
        Value value;
        value.kind = Kind::kMacro;
        value.macro = macros_.back().get();
        scopes_.back()[node.name] = std::move(value);
        return Flow::kNext;
      }
      case NodeKind::kBreak:
        return Flow::kBreak;
      case NodeKind::kContinue:
        return Flow::kContinue;
      default:
        fail("has an expression where a statement should be", node.line);
    }
  }

  Flow execute_if(const Node& node) {
    const std::size_t n = node.children.size();
    for (std::size_t i = 0; i + 1 < n; i += 2) {
      if (evaluate(*node.children[i]).truthy()) return execute(*node.children[i + 1]);
    }
    return n % 2 == 1 ? execute(*node.children[n - 1]) : Flow::kNext;
  }

  Flow execute_for(const Node& node) {
    List items = iterate(evaluate(*node.children[0]));
    if (const Node* condition = node.children[1].get()) {
      List kept;
      for (const Value& item : items) {
        scopes_.emplace_back();
        assign(node.targets, item, node);
        const bool keep = evaluate(*condition).truthy();
        scopes_.pop_back();
        if (keep) kept.push_back(item);
      }
      items = std::move(kept);
    }
    if (items.empty()) return node.children[3] ? execute(*node.children[3]) : Flow::kNext;
    const auto n = static_cast<std::int64_t>(items.size());
    for (std::int64_t i = 0; i < n; ++i) {
      steps_ += kStepsPerIteration;
      scopes_.emplace_back();
      assign(node.targets, items[i], node);
      if (!node.name.empty()) scopes_.back()["loop"] = loop_value(items, i);
      const Flow flow = execute(*node.children[2]);
      scopes_.pop_back();
      if (flow == Flow::kBreak) break;
    }
    return Flow::kNext;
  }

  static Value loop_value(const List& items, std::int64_t i) {
    const auto n = static_cast<std::int64_t>(items.size());
    return Value::of(Dict{{Text("index"), Value::of(i + 1)},
                          {Text("index0"), Value::of(i)},
                          {Text("revindex"), Value::of(n - i)},
                          {Text("revindex0"), Value::of(n - i - 1)},
                          {Text("first"), Value::of(i == 0)},
                          {Text("last"), Value::of(i == n - 1)},
                          {Text("length"), Value::of(n)},
                          {Text("previtem"), i > 0 ? items[i - 1] : Value::undefined("loop.previtem")},
                          {Text("nextitem"), i + 1 < n ? items[i + 1] : Value::undefined("loop.nextitem")}});
  }

  void execute_set(const Node& node) {
    const Value value = evaluate(*node.children[0]);
    if (node.name.empty()) {
      assign(node.targets, value, node);
      return;
    }
    const Value* space = lookup(node.targets[0]);
    if (!space || !space->is(Kind::kNamespace))
      fail(fmt::format("sets an attribute of '{}', which is no namespace", node.targets[0]), node.line);
    for (auto& [name, old] : *space->dict) {
      if (name.bytes == node.name) {
        old = value;
        return;
      }
    }
    space->dict->emplace_back(Text(node.name), value);
  }

  // ---- expressions
  Arguments arguments_of(const Node& node) {
    Arguments args;
    const std::size_t n_positional = node.arguments.size() - node.keywords.size();
    for (std::size_t i = 0; i < node.arguments.size(); ++i) {
      Value value = evaluate(*node.arguments[i]);
      if (i < n_positional) {
        args.positional.push_back(std::move(value));
      } else {
        args.keyword.emplace_back(node.keywords[i - n_positional], std::move(value));
      }
    }
    return args;
  }

  Value child(const Node& node, std::size_t i) { return evaluate(*node.children[i]); }

  Value evaluate(const Node& node) {
    step(node);
    Value value = compute(node);
    if (value.is(Kind::kString)) steps_ += static_cast<std::int64_t>(value.string->size() / kBytesPerStep);
    return value;
  }

  Value compute(const Node& node) {
    switch (node.kind) {
      case NodeKind::kLiteral:
        return node.value;
      case NodeKind::kName: {
        const Value* found = lookup(node.name);
        return found ? *found : Value::undefined(node.name);
      }
      case NodeKind::kAttribute:
        return attribute(child(node, 0), node.name);
      case NodeKind::kItem:
        return item(child(node, 0), child(node, 1));
      case NodeKind::kSlice:
        return slice(node);
      case NodeKind::kFunction:
        return call(node);
      case NodeKind::kMethod: {
        const Value object = child(node, 0);
        return call_method(node.name, object, arguments_of(node));
      }
      case NodeKind::kFilter: {
        const Value value = child(node, 0);
        return apply_filter(node.name, value, arguments_of(node));
      }
      case NodeKind::kTest: {
        const Value value = child(node, 0);
        return Value::of(apply_test(node.name, value, arguments_of(node)));
      }
      case NodeKind::kNot:
        return Value::of(!child(node, 0).truthy());
      case NodeKind::kNegative: {
        const Value value = child(node, 0);
        if (!value.is_number()) fail(fmt::format("negates {}", kind_name(value)), node.line);
        return value.is_integral() ? Value::of(-value.as_integer()) : Value::of(-value.real);
      }
      case NodeKind::kBinary:
        return arithmetic(node.name, child(node, 0), child(node, 1), node.line);
      case NodeKind::kCompare:
        return compare_chain(node);
      case NodeKind::kAnd: {
        Value left = child(node, 0);
        return left.truthy() ? child(node, 1) : left;
      }
      case NodeKind::kOr: {
        Value left = child(node, 0);
        return left.truthy() ? left : child(node, 1);
      }
      case NodeKind::kConditional:
        if (child(node, 0).truthy()) return child(node, 1);
        return node.children[2] ? child(node, 2) : Value::undefined("an if without else");
      case NodeKind::kList: {
        List items;
        for (const NodePtr& part : node.children) items.push_back(evaluate(*part));
        return Value::of(std::move(items));
      }
      case NodeKind::kDict: {
        Dict dict;
        for (std::size_t i = 0; i + 1 < node.children.size(); i += 2)
          dict.emplace_back(to_text(child(node, i)), child(node, i + 1));
        return Value::of(std::move(dict));
      }
      default:
        fail("has a statement where an expression should be", node.line);
    }
  }

  static Value item(const Value& object, const Value& key) {
    if (key.is(Kind::kString)) {
      if (object.is(Kind::kUndefined) || object.dict) return attribute(object, key.string->bytes);
      return Value::undefined(key.string->bytes);
    }
    if (object.is(Kind::kUndefined)) return attribute(object, "an index");
    if (!key.is_integral()) return Value::undefined("an item");
    std::int64_t index = key.as_integer();
    const auto in_range = [&index](std::size_t n) {
      if (index < 0) index += static_cast<std::int64_t>(n);
      return index >= 0 && index < static_cast<std::int64_t>(n);
    };
    if (object.is(Kind::kList))
      return in_range(object.list->size()) ? (*object.list)[index] : Value::undefined("an item");
    if (object.is(Kind::kString)) {
      const std::vector<std::size_t> starts = code_points(object.string->bytes);
      return in_range(starts.size() - 1)
                 ? Value::of(object.string->sub(starts[index], starts[index + 1] - starts[index]))
                 : Value::undefined("an item");
    }
    return Value::undefined("an item");
  }

  // Python's slices, on lists and on the code points of strings.
  Value slice(const Node& node) {
    const Value object = child(node, 0);
    if (!object.is(Kind::kList) && !object.is(Kind::kString))
      fail(fmt::format("slices {}", kind_name(object)), node.line);
    const std::vector<std::size_t> starts =
        object.is(Kind::kString) ? code_points(object.string->bytes) : std::vector<std::size_t>();
    const auto n = static_cast<std::int64_t>(object.is(Kind::kList) ? object.list->size() : starts.size() - 1);
    const auto bound = [&](std::size_t i) -> std::optional<std::int64_t> {
      if (!node.children[i]) return std::nullopt;
      const Value value = evaluate(*node.children[i]);
      if (value.is(Kind::kNone)) return std::nullopt;
      if (!value.is_integral()) fail(fmt::format("slices with {}", kind_name(value)), node.line);
      return std::clamp<std::int64_t>(value.as_integer(), -(std::int64_t{1} << 40), std::int64_t{1} << 40);
    };
    const std::int64_t step = bound(3).value_or(1);
    if (step == 0) fail("slices with a step of zero", node.line);
    const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    const auto place = [&](std::optional<std::int64_t> at, std::int64_t fallback) {
      if (!at) return fallback;
      return std::clamp(*at < 0 ? *at + n : *at, low, high);
    };
    const std::int64_t begin = place(bound(1), step > 0 ? low : high), end = place(bound(2), step > 0 ? high : low);
    if (object.is(Kind::kString) && step == 1) {
      return Value::of(begin < end ? object.string->sub(starts[begin], starts[end] - starts[begin]) : Text());
    }
    List items;
    Text text;
    for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
      if (object.is(Kind::kList)) {
        items.push_back((*object.list)[i]);
      } else {
        text.append(object.string->sub(starts[i], starts[i + 1] - starts[i]));
      }
    }
    return object.is(Kind::kList) ? Value::of(std::move(items)) : Value::of(std::move(text));
  }

  static Value arithmetic(std::string_view op, const Value& a, const Value& b, int line) {
    if (op == "~") {
      Text text = to_text(a);
      return Value::of(std::move(text.append(to_text(b))));
    }
    if (op == "+" && a.is(Kind::kString) && b.is(Kind::kString)) {
      Text text = *a.string;
      return Value::of(std::move(text.append(*b.string)));
    }
    if (op == "+" && a.is(Kind::kList) && b.is(Kind::kList)) {
      List items = *a.list;
      if (items.size() + b.list->size() > kMaxListItems) fail("makes a list that is too long", line);
      items.insert(items.end(), b.list->begin(), b.list->end());
      return Value::of(std::move(items));
    }
    if (op == "*" && a.is(Kind::kString) && b.is_integral()) {
      return Value::of(a.string->repeated(b.as_integer()));
    }
    if (!a.is_number() || !b.is_number()) {
      const Value& culprit = a.is(Kind::kUndefined) ? a : b;
      if (culprit.is(Kind::kUndefined) && culprit.string)
        fail(fmt::format("computes with '{}', which is undefined", culprit.string->bytes), line);
      fail(fmt::format("computes {} {} {}", kind_name(a), op, kind_name(b)), line);
    }
    if (a.is_integral() && b.is_integral() && op != "/")
      return integer_arithmetic(op, a.as_integer(), b.as_integer(), line);
    const double x = a.as_real(), y = b.as_real();
    if (op == "+") return Value::of(x + y);
    if (op == "-") return Value::of(x - y);
    if (op == "*") return Value::of(x * y);
    if (op == "**") return Value::of(std::pow(x, y));
    if (y == 0) fail("divides by zero", line);
    if (op == "/") return Value::of(x / y);
    if (op == "//") return Value::of(std::floor(x / y));
    return Value::of(x - std::floor(x / y) * y);
  }

  static Value integer_arithmetic(std::string_view op, std::int64_t x, std::int64_t y, int line) {
    std::int64_t result = 0;
    bool overflow = false;
    if (op == "+") {
      overflow = __builtin_add_overflow(x, y, &result);
    } else if (op == "-") {
      overflow = __builtin_sub_overflow(x, y, &result);
    } else if (op == "*") {
      overflow = __builtin_mul_overflow(x, y, &result);
    } else if (op == "**") {
      if (y < 0) return Value::of(std::pow(static_cast<double>(x), static_cast<double>(y)));
      result = 1;
      for (std::int64_t i = 0; i < y && !overflow && x != 1 && !(x == 0 && i > 0); ++i) {
        overflow = __builtin_mul_overflow(result, x, &result) || i > 64;
      }
    } else {
      if (y == 0) fail("divides by zero", line);
      if (y == -1) return integer_arithmetic(op == "%" ? "*" : "-", 0, op == "%" ? 0 : x, line);
      const std::int64_t rest = (x % y + y) % y;
      result = op == "%" ? rest : (x - rest) / y;
    }
    if (overflow) fail("computes an integer that is too large", line);
    return Value::of(result);
  }

  Value compare_chain(const Node& node) {
    Value left = child(node, 0);
    for (std::size_t i = 0; i < node.operators.size(); ++i) {
      Value right = child(node, i + 1);
      if (!compare(node.operators[i], left, right, node.line)) return Value::of(false);
      left = std::move(right);
    }
    return Value::of(true);
  }

  static bool compare(std::string_view op, const Value& a, const Value& b, int line) {
    if (op == "==") return equal(a, b);
    if (op == "!=") return !equal(a, b);
    if (op == "in") return contains(b, a);
    if (op == "not in") return !contains(b, a);
    int order = 0;
    if (a.is_number() && b.is_number()) {
      const double x = a.as_real(), y = b.as_real();
      order = x < y ? -1 : x > y;
    } else if (a.is(Kind::kString) && b.is(Kind::kString)) {
      order = a.string->bytes.compare(b.string->bytes);
    } else {
      fail(fmt::format("orders {} and {}", kind_name(a), kind_name(b)), line);
    }
    return op == "<" ? order < 0 : op == ">" ? order > 0 : op == "<=" ? order <= 0 : order >= 0;
  }

  Value call(const Node& node) {
    const Arguments args = arguments_of(node);
    if (const Value* found = lookup(node.name); found && found->is(Kind::kMacro))
      return call_macro(*found->macro->node, args, node.line);
    if (node.name == "raise_exception") {
      throw Error(ErrorKind::kBadRequest,
                  "the chat template refuses the conversation: " + to_text(args.get(0, "message")).bytes);
    }
    if (node.name == "namespace" || node.name == "dict") {
      Dict dict;
      if (!args.positional.empty() && args.positional[0].dict) dict = *args.positional[0].dict;
      for (const auto& [name, value] : args.keyword) dict.emplace_back(Text(name), value);
      return Value::of(std::move(dict), node.name == "dict" ? Kind::kDict : Kind::kNamespace);
    }
    if (node.name == "range") return range(args, node.line);
    if (node.name == "strftime_now") return Value::of(Text(date(to_text(args.get(0, "format")).bytes)));
    fail(fmt::format("calls the unknown function '{}'", node.name), node.line);
  }

  static Value range(const Arguments& args, int line) {
    std::int64_t bounds[3] = {0, 0, 1};
    const std::size_t n = args.positional.size();
    if (n < 1 || n > 3) fail("calls range() with an impossible number of arguments", line);
    for (std::size_t i = 0; i < n; ++i) {
      const Value& value = args.positional[i];
      if (!value.is_integral()) fail(fmt::format("calls range() with {}", kind_name(value)), line);
      bounds[n == 1 ? 1 : i] =
          std::clamp<std::int64_t>(value.as_integer(), -(std::int64_t{1} << 40), std::int64_t{1} << 40);
    }
    if (bounds[2] == 0) fail("calls range() with a step of zero", line);
    List items;
    for (std::int64_t i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1]; i += bounds[2]) {
      if (items.size() >= kMaxListItems) fail("calls range() with too many items", line);
      items.push_back(Value::of(i));
    }
    return Value::of(std::move(items));
  }

  std::string date(const std::string& format) const {
    const std::time_t time = now_ ? static_cast<std::time_t>(*now_) : std::time(nullptr);
    std::tm parts{};
    localtime_r(&time, &parts);
    std::string out(format.size() * 4 + 256, '\0');
    out.resize(std::strftime(out.data(), out.size(), format.c_str(), &parts));
    return out;
  }

  Value call_macro(const Node& macro, const Arguments& args, int line) {
    if (++macro_depth_ > kMaxMacroDepth) fail("calls macros too deeply", line);
    if (args.positional.size() > macro.targets.size())
      fail(fmt::format("calls {}() with too many arguments", macro.name), line);
    Scope scope;
    for (std::size_t i = 0; i < macro.targets.size(); ++i) {
      Value value = args.get(i, macro.targets[i]);
      if (value.is(Kind::kUndefined))
        value = macro.children[i + 1] ? evaluate(*macro.children[i + 1]) : Value::undefined(macro.targets[i]);
      scope[macro.targets[i]] = std::move(value);
    }
    for (const auto& [name, value] : args.keyword) {
      if (!scope.contains(name)) fail(fmt::format("calls {}() with the unknown argument '{}'", macro.name, name), line);
    }
    const std::size_t outer_barrier = std::exchange(barrier_, scopes_.size());
    Text outer = std::exchange(out_, Text());
    scopes_.push_back(std::move(scope));
    execute(*macro.children[0]);
    scopes_.pop_back();
    barrier_ = outer_barrier;
    --macro_depth_;
    return Value::of(std::exchange(out_, std::move(outer)));
  }

  std::optional<std::int64_t> now_;
  std::vector<Scope> scopes_;
  std::size_t barrier_ = 0;  // scopes below are invisible, but for the outermost
  std::vector<std::unique_ptr<Macro>> macros_;
  Text out_;
  std::int64_t steps_ = 0;
  int macro_depth_ = 0;
};

}  // namespace

Template::Template(std::string_view source) : root_(parse(source)) {}
Template::Template(Template&&) noexcept = default;
Template::~Template() = default;

Text Template::render(Dict variables, std::optional<std::int64_t> now) const {
  return Renderer(std::move(variables), now).run(*root_);
}

}  // namespace dodeca::runtime::jinja
