#include <algorithm>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/jinja_renderer.hpp"

namespace dodeca::runtime::jinja {
namespace {

constexpr std::string_view kFunctions[] = {"namespace", "dict",   "range", "raise_exception", "strftime_now", "cycler",
                                           "joiner",    "lipsum", "self"};

// transformers defines these where a tokenizer has them; here they are not known.
constexpr std::string_view kOtherTokens[] = {"unk_token", "pad_token",  "sep_token",
                                             "cls_token", "mask_token", "additional_special_tokens"};

template <std::size_t n>
bool among(const std::string_view (&names)[n], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

Value Renderer::evaluate(const Node& node) {
  const int outer_line = budget_.line();
  const Deeper deeper(*this, node);
  Value value = compute(node);
  budget_.set_line(outer_line);
  return value;
}

Value Renderer::compute(const Node& node) {
  switch (node.kind) {
    case NodeKind::kLiteral:
      return node.value;
    case NodeKind::kName:
      return name(node);
    case NodeKind::kAttribute:
      return attribute(budget_, child(node, 0), node.name);
    case NodeKind::kItem:
      return item(budget_, child(node, 0), child(node, 1));
    case NodeKind::kSlice:
      return slice_of(node);
    case NodeKind::kCall:
      return call(node);
    case NodeKind::kFilter:
      return filter(node);
    case NodeKind::kTest:
      return Value::of(test(node));
    case NodeKind::kNot:
      return Value::of(!child(node, 0).truthy());
    case NodeKind::kNegative:
      return negative(budget_, child(node, 0));
    case NodeKind::kPositive:
      return negative(budget_, negative(budget_, child(node, 0)));
    case NodeKind::kBinary:
      return arithmetic(budget_, node.name, child(node, 0), child(node, 1));
    case NodeKind::kConcat:
      return concat(node);
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
      return node.children[2] ? child(node, 2) : Value::undefined(budget_, "an if without else");
    case NodeKind::kList:
      return sequence(node, ListKind::kList);
    case NodeKind::kTuple:
      return sequence(node, ListKind::kTuple);
    case NodeKind::kDict:
      return mapping(node);
    default:
      budget_.fail("has a statement where an expression should be");
  }
}

Value Renderer::name(const Node& node) {
  if (const Value* found = lookup(node.name)) return *found;
  if (among(kOtherTokens, node.name)) budget_.fail(fmt::format("uses '{}', which is not known here", node.name));
  return among(kFunctions, node.name) ? Value::function(budget_, node.name) : Value::undefined(budget_, node.name);
}

Value Renderer::compare_chain(const Node& node) {
  Value left = child(node, 0);
  for (std::size_t i = 0; i < node.operators.size(); ++i) {
    Value right = child(node, i + 1);
    if (!compare(budget_, node.operators[i], left, right)) return Value::of(false);
    left = std::move(right);
  }
  return Value::of(true);
}

Value Renderer::concat(const Node& node) {
  TextBuilder out(budget_);
  for (const NodePtr& part : node.children) out.add(to_text(budget_, evaluate(*part)));
  return out.value();
}

Value Renderer::sequence(const Node& node, ListKind kind) {
  ListBuilder items(budget_);
  for (const NodePtr& part : node.children) items.add(evaluate(*part));
  return items.value(kind);
}

Value Renderer::mapping(const Node& node) {
  Dict dict;
  for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
    Value key = child(node, i);
    put(budget_, dict, std::move(key), child(node, i + 1));
  }
  return Value::of(budget_, std::move(dict));
}

Value Renderer::slice_of(const Node& node) {
  const Value object = child(node, 0);
  Value bounds[3];
  for (std::size_t i = 0; i < 3; ++i) bounds[i] = node.children[i + 1] ? child(node, i + 1) : Value::none();
  return slice(budget_, object, bounds[0], bounds[1], bounds[2]);
}

Value Renderer::filter(const Node& node) {
  const Value value = child(node, 0);
  return apply_filter(budget_, node.name, value, arguments_of(node));
}

bool Renderer::test(const Node& node) {
  const Value value = child(node, 0);
  return apply_test(budget_, node.name, value, arguments_of(node));
}

Arguments Renderer::arguments_of(const Node& node) {
  Arguments arguments;
  const std::size_t n_positional = node.arguments.size() - node.keywords.size();
  for (std::size_t i = 0; i < node.arguments.size(); ++i) {
    Value value = evaluate(*node.arguments[i]);
    if (i < n_positional) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.keyword.emplace_back(node.keywords[i - n_positional], std::move(value));
    }
  }
  return arguments;
}

}  // namespace dodeca::runtime::jinja
