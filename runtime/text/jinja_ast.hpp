// The syntax tree of a template, and the steps that make it: source -> tokens -> tree.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/jinja_value.hpp"

namespace dodeca::runtime::jinja {

enum class TokenKind {
  kData,
  kOutputBegin,
  kOutputEnd,
  kTagBegin,
  kTagEnd,
  kName,
  kInt,
  kFloat,
  kString,
  kOperator,
  kEnd
};
struct Token {
  TokenKind kind;
  std::string text;
  int line;
};
std::vector<Token> tokenize(Budget& budget, std::string_view source);

enum class NodeKind {
  // Expressions. Children in brackets; a null child was left out.
  kLiteral,      // value
  kName,         // name
  kAttribute,    // [object] name
  kItem,         // [object, index]
  kSlice,        // [object, begin, end, step]
  kCall,         // [what] arguments
  kFilter,       // [value] name, arguments
  kTest,         // [value] name, arguments
  kNot,          // [value]
  kNegative,     // [value]
  kPositive,     // [value]
  kBinary,       // [left, right] name: + - * / // % **
  kConcat,       // [parts...]
  kCompare,      // [left, right...] operators: == != < > <= >= in, not in
  kAnd,          // [left, right]
  kOr,           // [left, right]
  kConditional,  // [condition, then, else]
  kList,         // [items...]
  kTuple,        // [items...]
  kDict,         // [key, value, ...]
  // Statements
  kData,         // value
  kOutput,       // [expression]
  kBody,         // [statements...]
  kIf,           // [condition, body, condition, body, ..., else body]
  kFor,          // [iterable, filter, body, else body] targets; name: "loop" when the body uses it, "recursive"
  kSet,          // [expression] targets; name: the attribute of a namespace
  kSetBlock,     // [body, filters...] targets
  kFilterBlock,  // [body, filters...]
  kWith,         // [body, values...] targets
  kMacro,        // [body, defaults...] name, targets: parameters, keywords: which of caller, varargs, kwargs it uses
  kCallBlock,    // [the caller as a macro, the call]
  kBreak,
  kContinue,
};

struct Node {
  NodeKind kind;
  int line = 0;
  int height = 1;
  std::string name;
  Value value;
  std::vector<std::unique_ptr<Node>> children;
  std::vector<std::unique_ptr<Node>> arguments;  // positional, then keyword
  std::vector<std::string> keywords;             // names of the last arguments
  std::vector<std::string> targets;
  std::vector<std::string> operators;
};
using NodePtr = std::unique_ptr<Node>;

NodePtr parse(Budget& budget, std::string_view source);

}  // namespace dodeca::runtime::jinja
