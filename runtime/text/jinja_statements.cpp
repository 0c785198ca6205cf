#include <algorithm>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/jinja_renderer.hpp"

namespace dodeca::runtime::jinja {
namespace {

constexpr int kMaxRenderDepth = 800;  // nodes that contain each other, through macros too

}  // namespace

Renderer::Deeper::Deeper(Renderer& r, const Node& node) : renderer_(r) {
  r.budget_.set_line(node.line);
  r.budget_.work(kWorkPerNode);
  if (r.depth_ == kMaxRenderDepth) r.budget_.fail("is nested too deeply");
  ++r.depth_;
}

Renderer::Renderer(Budget& budget, Template::Variables variables, std::optional<std::int64_t> now)
    : budget_(budget), now_(now), out_(budget) {
  scopes_.push_back({{}, 0, 0});
  for (auto& variable : variables) set(variable.first, std::move(variable.second));
}

Text Renderer::run(const Node& root) {
  execute(root);
  return out_.take();
}

const Value* Renderer::lookup(std::string_view name) const {
  for (std::size_t i = scopes_.size() - 1;; i = scopes_[i].parent) {
    if (const auto found = scopes_[i].names.find(name); found != scopes_[i].names.end()) return &found->second;
    if (i == 0) return nullptr;
  }
}

// A single target with an empty one behind it is a tuple of one.
void Renderer::assign(const std::vector<std::string>& targets, const Value& value) {
  if (targets.size() == 1) {
    set(targets[0], value);
    return;
  }
  const std::size_t n = targets.back().empty() ? 1 : targets.size();
  const Value items = items_of(budget_, value);
  if (items.list().size() != n) budget_.fail(fmt::format("unpacks {} values into {} names", items.list().size(), n));
  for (std::size_t i = 0; i < n; ++i) set(targets[i], items.list()[i]);
}

void Renderer::check_alive(const Place& place, std::string_view what) const {
  if (place.scope >= scopes_.size() || scopes_[place.scope].number != place.number)
    budget_.fail(fmt::format("calls {} outside the block that defined it", what));
}

Value Renderer::make_macro(const Node& node) {
  budget_.hold(sizeof(Macro));
  macros_.push_back({&node, here()});
  Value value;
  value.kind = Kind::kMacro;
  value.macro = &macros_.back();
  return value;
}

Flow Renderer::execute(const Node& node) {
  const Deeper deeper(*this, node);
  switch (node.kind) {
    case NodeKind::kData:
      out_.add(node.value.text());
      return Flow::kNext;
    case NodeKind::kOutput:
      out_.add(to_text(budget_, child(node, 0)));
      return Flow::kNext;
    case NodeKind::kBody:
      for (const NodePtr& part : node.children) {
        if (const Flow flow = execute(*part); flow != Flow::kNext) return flow;
      }
      return Flow::kNext;
    case NodeKind::kIf:
      return execute_if(node);
    case NodeKind::kFor:
      return execute_for(node, child(node, 0), 0);
    case NodeKind::kSet:
      execute_set(node);
      return Flow::kNext;
    case NodeKind::kSetBlock:
      execute_set(node);
      return Flow::kNext;
    case NodeKind::kFilterBlock:
      out_.add(to_text(budget_, through_filters(node, captured(*node.children[0]))));
      return Flow::kNext;
    case NodeKind::kWith:
      return execute_with(node);
    case NodeKind::kMacro:
      set(node.name, make_macro(node));
      return Flow::kNext;
    case NodeKind::kCallBlock:
      execute_call_block(node);
      return Flow::kNext;
    case NodeKind::kBreak:
      return Flow::kBreak;
    case NodeKind::kContinue:
      return Flow::kContinue;
    default:
      budget_.fail("has an expression where a statement should be");
  }
}

Flow Renderer::execute_if(const Node& node) {
  const std::size_t n = node.children.size();
  for (std::size_t i = 0; i + 1 < n; i += 2) {
    if (child(node, i).truthy()) return execute(*node.children[i + 1]);
  }
  return n % 2 == 1 ? execute(*node.children[n - 1]) : Flow::kNext;
}

// The items for which the loop's condition holds.
Value Renderer::filtered_loop_items(const Node& node, const Value& iterable) {
  Value items = items_of(budget_, iterable);
  const Node* condition = node.children[1].get();
  if (!condition) return items;
  ListBuilder kept(budget_);
  for (const Value& item : items.list()) {
    const InScope scope(*this);
    assign(node.targets, item);
    if (evaluate(*condition).truthy()) kept.add(item);
  }
  return kept.value();
}

Flow Renderer::execute_for(const Node& node, const Value& iterable, int level) {
  const Value items = filtered_loop_items(node, iterable);
  const Place place = here();
  const auto loop = std::make_shared<LoopObject>(budget_, items, level);
  loop->node = node.name == "recursive" ? &node : nullptr;
  loop->scope = place.scope;
  loop->scope_number = place.number;
  Value loop_value;
  loop_value.kind = Kind::kLoop;
  loop_value.object = loop;
  const std::size_t n = items.list().size();
  for (std::size_t i = 0; i < n; ++i) {
    loop->index = i;
    const InScope scope(*this);
    assign(node.targets, items.list()[i]);
    if (!node.name.empty()) set("loop", loop_value);
    if (execute(*node.children[2]) == Flow::kBreak) break;
  }
  if (n == 0 && node.children[3]) {
    const InScope scope(*this);
    return execute(*node.children[3]);
  }
  return Flow::kNext;
}

void Renderer::execute_set(const Node& node) {
  const Value value = node.kind == NodeKind::kSet ? child(node, 0) : through_filters(node, captured(*node.children[0]));
  if (node.name.empty()) {
    assign(node.targets, value);
    return;
  }
  const Value* found = lookup(node.targets[0]);
  if (!found || !found->is(Kind::kNamespace))
    budget_.fail(fmt::format("sets an attribute of '{}', which is no namespace", node.targets[0]));
  Namespace& space = *found->space;
  for (auto& [name, old] : space.entries) {
    budget_.work(1);
    if (name != node.name) continue;
    old = value;
    return;
  }
  space.held.grow(sizeof(Value) + 64);
  space.entries.emplace_back(node.name, value);
}

Value Renderer::captured(const Node& body) {
  TextBuilder outer = std::exchange(out_, TextBuilder(budget_));
  const InScope scope(*this);
  execute(body);
  return std::exchange(out_, std::move(outer)).value();
}

Value Renderer::through_filters(const Node& node, Value value) {
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    const Node& filter = *node.children[i];
    value = apply_filter(budget_, filter.name, value, arguments_of(filter));
  }
  return value;
}

Flow Renderer::execute_with(const Node& node) {
  std::vector<Value> values;
  for (std::size_t i = 1; i < node.children.size(); ++i) values.push_back(child(node, i));
  const InScope scope(*this);
  for (std::size_t i = 0; i < values.size(); ++i) set(node.targets[i], values[i]);
  return execute(*node.children[0]);
}

void Renderer::execute_call_block(const Node& node) {
  const Value caller = make_macro(*node.children[0]);
  out_.add(to_text(budget_, call(*node.children[1], &caller)));
}

}  // namespace dodeca::runtime::jinja
