// Calls: functions of Jinja and transformers, macros, loops and methods.
#include <algorithm>
#include <ctime>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/jinja_renderer.hpp"

namespace dodeca::runtime::jinja {
namespace {

constexpr int kMaxMacroDepth = 64;
constexpr Integer kMaxRange = 100'000;  // as Jinja's sandbox
constexpr std::size_t kMaxDateFormat = 256;

bool uses(const Node& macro, std::string_view special) {
  return std::find(macro.keywords.begin(), macro.keywords.end(), special) != macro.keywords.end();
}

}  // namespace

Value Renderer::call(const Node& node, const Value* caller) {
  const Value what = child(node, 0);
  Arguments arguments = arguments_of(node);
  budget_.set_line(node.line);
  if (caller) arguments.keyword.emplace_back("caller", *caller);
  switch (what.kind) {
    case Kind::kMacro:
      return call_macro(*what.macro, arguments);
    case Kind::kFunction:
      return call_function(what.text().bytes, arguments);
    case Kind::kLoop:
      return call_loop(what, arguments);
    case Kind::kMethod: {
      const auto& method = what.as<MethodObject>();
      if (method.self.is(Kind::kLoop)) return call_loop_method(method.name, method.self, arguments);
      return call_method(budget_, method.name, method.self, arguments);
    }
    case Kind::kUndefined:
      budget_.fail(fmt::format("calls the unknown function or method '{}'", what.text().bytes.substr(0, 80)));
    default:
      budget_.fail(fmt::format("calls {}", kind_name(what)));
  }
}

Value Renderer::call_function(std::string_view name, const Arguments& arguments) {
  if (name == "range") return range(arguments);
  if (name == "namespace") return make_namespace(arguments);
  if (name == "dict") return make_dict(arguments);
  if (name == "raise_exception") {
    const Bound a(budget_, "raise_exception()", "message", 1, arguments);
    Error error(ErrorKind::kBadRequest,
                "the chat template refuses the conversation: " + to_text(budget_, *a[0]).bytes.substr(0, 4096));
    error.with("line", budget_.line());
    throw error;
  }
  if (name == "strftime_now") {
    const Bound a(budget_, "strftime_now()", "format", 1, arguments);
    return Value::of(budget_, date(a.text(0).bytes));
  }
  budget_.fail(fmt::format("calls the unknown function '{}'", name));
}

Value Renderer::make_dict(const Arguments& arguments) {
  if (arguments.positional.size() > 1) budget_.fail("gives a mapping more than one argument without a name");
  Dict dict;
  if (!arguments.positional.empty()) {
    if (!arguments.positional[0].is(Kind::kDict))
      budget_.fail(fmt::format("makes a mapping of {}", kind_name(arguments.positional[0])));
    budget_.work(weight(arguments.positional[0]));
    dict = arguments.positional[0].dict();
  }
  for (const auto& [name, value] : arguments.keyword) put(budget_, dict, Value::of(budget_, name), value);
  return Value::of(budget_, std::move(dict));
}

Value Renderer::make_namespace(const Arguments& arguments) {
  const Value start = make_dict(arguments);
  Namespace& space = namespaces_.emplace_back(budget_);
  for (const auto& [name, value] : start.dict()) {
    if (!name.is(Kind::kString)) budget_.fail(fmt::format("names an attribute of a namespace by {}", kind_name(name)));
    space.held.grow(sizeof(Value) + 64 + name.text().size());
    space.entries.emplace_back(name.text().bytes, value);
  }
  Value value;
  value.kind = Kind::kNamespace;
  value.space = &space;
  return value;
}

Value Renderer::range(const Arguments& arguments) {
  const Bound a(budget_, "range()", "_ _ _", 1, arguments);
  const Integer begin = a.has(1) ? a.integer(0, 0) : 0, end = a.integer(a.has(1) ? 1 : 0, 0), step = a.integer(2, 1);
  if (step == 0) budget_.fail("calls range() with a step of zero");
  ListBuilder items(budget_);
  Integer n = 0;
  for (Integer i = begin; step > 0 ? i < end : i > end; ++n) {
    if (n == kMaxRange) budget_.fail(fmt::format("calls range() for more than {} items", static_cast<int>(kMaxRange)));
    items.add(Value::of(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return items.value(ListKind::kRange);
}

std::string Renderer::date(const std::string& format) const {
  if (format.size() > kMaxDateFormat) budget_.fail("formats the date with a format that is too long");
  // Python's own: microseconds, and no zone for a time without one.
  for (const char* const unlike : {"%f", "%z", "%Z", "%:"}) {
    if (format.find(unlike) != std::string::npos) budget_.fail(fmt::format("formats the date with '{}'", unlike));
  }
  const std::time_t time = now_ ? static_cast<std::time_t>(*now_) : std::time(nullptr);
  std::tm parts{};
  localtime_r(&time, &parts);
  std::string out(16 * kMaxDateFormat, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &parts));
  if (out.empty() && !format.empty()) budget_.fail("formats the date with a width that is too large");
  return out;
}

void Renderer::bind_macro_arguments(const Node& macro, const Arguments& arguments) {
  const std::size_t n = macro.targets.size(), n_given = arguments.positional.size();
  if (n_given > n && !uses(macro, "varargs"))
    budget_.fail(fmt::format("gives {} arguments to the macro {}(), which takes {}", n_given, macro.name, n));
  Dict others;
  bool has_caller = false;
  std::vector<const Value*> given(n);
  for (std::size_t i = 0; i < std::min(n, n_given); ++i) given[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.keyword) {
    const auto place = std::find(macro.targets.begin(), macro.targets.end(), name);
    if (place != macro.targets.end()) {
      const Value*& slot = given[place - macro.targets.begin()];
      if (slot) budget_.fail(fmt::format("gives the macro {}() the argument '{}' twice", macro.name, name));
      slot = &value;
    } else if (name == "caller" && uses(macro, "caller")) {
      set("caller", value);
      has_caller = true;
    } else if (uses(macro, "kwargs")) {
      put(budget_, others, Value::of(budget_, name), value);
    } else {
      budget_.fail(fmt::format("gives the macro {}() the unknown argument '{}'", macro.name, name));
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    const Node* fallback = macro.children[i + 1].get();
    set(macro.targets[i], given[i]   ? *given[i]
                          : fallback ? evaluate(*fallback)
                                     : Value::undefined(budget_, macro.targets[i]));
  }
  if (!has_caller && uses(macro, "caller")) set("caller", Value::undefined(budget_, "caller"));
  if (uses(macro, "kwargs")) set("kwargs", Value::of(budget_, std::move(others)));
  if (uses(macro, "varargs")) {
    ListBuilder rest(budget_);
    for (std::size_t i = n; i < n_given; ++i) rest.add(arguments.positional[i]);
    set("varargs", rest.value(ListKind::kTuple));
  }
}

Value Renderer::call_macro(const Macro& macro, const Arguments& arguments) {
  check_alive(macro.place, fmt::format("the macro {}()", macro.node->name));
  if (macro_depth_ == kMaxMacroDepth) budget_.fail("calls macros too deeply");
  ++macro_depth_;
  TextBuilder outer = std::exchange(out_, TextBuilder(budget_));
  {
    const InScope scope(*this, macro.place.scope);
    bind_macro_arguments(*macro.node, arguments);
    execute(*macro.node->children[0]);
  }
  --macro_depth_;
  return std::exchange(out_, std::move(outer)).value();
}

// loop(items) in a recursive loop: the loop again, one level deeper.
Value Renderer::call_loop(const Value& loop, const Arguments& arguments) {
  const auto& state = loop.as<LoopObject>();
  if (!state.node) budget_.fail("calls a loop that is not recursive");
  check_alive({state.scope, state.scope_number}, "a loop");
  const Bound a(budget_, "loop()", "_", 1, arguments);
  if (macro_depth_ == kMaxMacroDepth) budget_.fail("calls loops too deeply");
  ++macro_depth_;
  TextBuilder outer = std::exchange(out_, TextBuilder(budget_));
  {
    const InScope scope(*this, state.scope);
    execute_for(*static_cast<const Node*>(state.node), *a[0], state.level + 1);
  }
  --macro_depth_;
  return std::exchange(out_, std::move(outer)).value();
}

Value Renderer::call_loop_method(std::string_view name, const Value& loop, const Arguments& arguments) {
  auto& state = const_cast<LoopObject&>(loop.as<LoopObject>());  // made by execute_for(), which counts in it too
  if (!arguments.keyword.empty())
    budget_.fail(fmt::format("gives loop.{}() the unknown argument '{}'", name, arguments.keyword[0].first));
  const std::vector<Value>& values = arguments.positional;
  if (name == "cycle") {
    if (values.empty()) budget_.fail("calls loop.cycle() without arguments");
    return values[state.index % values.size()];
  }
  for (const Value& value : values) {  // what it keeps must not keep the loop, and then is no deeper than its items
    if (value.depth() >= loop.depth()) budget_.fail(fmt::format("calls loop.changed() with {}", kind_name(value)));
  }
  const bool same =
      state.has_seen && std::equal(values.begin(), values.end(), state.seen.begin(), state.seen.end(),
                                   [this](const Value& a, const Value& b) { return equal(budget_, a, b); });
  state.has_seen = true;
  if (!same) state.seen = values;
  return Value::of(!same);
}

}  // namespace dodeca::runtime::jinja
