// Tokens -> syntax tree, by recursive descent along Jinja2's own levels of precedence.
#include <algorithm>
#include <charconv>

#include "runtime/text/jinja_ast.hpp"

namespace dodeca::runtime::jinja {
namespace {

constexpr int kMaxHeight = 200;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}

  NodePtr run() { return parse_body({}); }

 private:
  // ---- tokens
  const Token& now() const { return tokens_[pos_]; }
  const Token& peek() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  bool is_op(std::string_view text) const { return now().kind == TokenKind::kOperator && now().text == text; }
  bool is_name(std::string_view text) const { return now().kind == TokenKind::kName && now().text == text; }
  bool take_op(std::string_view text) { return is_op(text) && (++pos_, true); }
  bool take_name(std::string_view text) { return is_name(text) && (++pos_, true); }
  void expect_op(std::string_view text) {
    if (!take_op(text)) unexpected(fmt::format("'{}'", text));
  }
  std::string expect_name() {
    if (now().kind != TokenKind::kName) unexpected("a name");
    return tokens_[pos_++].text;
  }
  void expect(TokenKind kind, std::string_view what) {
    if (now().kind != kind) unexpected(what);
    ++pos_;
  }
  [[noreturn]] void unexpected(std::string_view wanted) const {
    fail(fmt::format("has '{}' where {} should be", now().text.substr(0, 40), wanted), now().line);
  }

  // ---- nodes
  NodePtr make(NodeKind kind, std::string name = "") const {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->line = now().line;
    node->name = std::move(name);
    return node;
  }
  // Bounds the height of the tree, and so the recursion of whatever walks it.
  void add(Node& parent, NodePtr child) const { adopt(parent, parent.children, std::move(child)); }
  void adopt(Node& parent, std::vector<NodePtr>& place, NodePtr child) const {
    if (child) {
      parent.height = std::max(parent.height, child->height + 1);
      if (parent.height > kMaxHeight) fail("is nested too deeply", parent.line);
    }
    place.push_back(std::move(child));
  }
  NodePtr binary(NodeKind kind, std::string name, NodePtr left, NodePtr right) const {
    NodePtr node = make(kind, std::move(name));
    add(*node, std::move(left));
    add(*node, std::move(right));
    return node;
  }

  struct Depth {
    explicit Depth(Parser& p) : parser(p) {
      if (++parser.depth_ > kMaxHeight) fail("is nested too deeply", parser.now().line);
    }
    ~Depth() { --parser.depth_; }
    Parser& parser;
  };

  // ---- statements
  bool at_tag(const std::vector<std::string_view>& ends) const {
    return now().kind == TokenKind::kTagBegin && peek().kind == TokenKind::kName &&
           std::find(ends.begin(), ends.end(), peek().text) != ends.end();
  }

  // Up to one of the tags named, which stays.
  NodePtr parse_body(const std::vector<std::string_view>& ends) {
    const Depth depth(*this);
    NodePtr body = make(NodeKind::kBody);
    while (now().kind != TokenKind::kEnd) {
      if (now().kind == TokenKind::kData) {
        NodePtr data = make(NodeKind::kData);
        data->value = Value::of(Text(tokens_[pos_++].text));
        add(*body, std::move(data));
      } else if (now().kind == TokenKind::kOutputBegin) {
        ++pos_;
        NodePtr output = make(NodeKind::kOutput);
        add(*output, parse_tuple());
        expect(TokenKind::kOutputEnd, "'}}'");
        add(*body, std::move(output));
      } else if (at_tag(ends)) {
        return body;
      } else {
        expect(TokenKind::kTagBegin, "a tag");
        if (NodePtr statement = parse_statement()) add(*body, std::move(statement));
      }
    }
    if (!ends.empty()) fail(fmt::format("ends before '{}'", ends.back()), now().line);
    return body;
  }

  void end_tag() { expect(TokenKind::kTagEnd, "'%}'"); }
  // "{% name %}", the first of them being known to be there
  void closing_tag() {
    pos_ += 2;
    end_tag();
  }

  NodePtr parse_statement() {
    const int line = now().line;
    const std::string name = expect_name();
    if (name == "if") return parse_if();
    if (name == "for") return parse_for();
    if (name == "set") return parse_set();
    if (name == "macro") return parse_macro();
    if (name == "break" || name == "continue") {
      if (loops_ == 0) fail(fmt::format("has '{}' outside a loop", name), line);
      NodePtr node = make(name == "break" ? NodeKind::kBreak : NodeKind::kContinue);
      end_tag();
      return node;
    }
    if (name == "generation") {  // marks what a model should learn; renders as its content
      end_tag();
      NodePtr body = parse_body({"endgeneration"});
      closing_tag();
      return body;
    }
    fail(fmt::format("uses the unknown tag '{}'", name), line);
  }

  NodePtr parse_if() {
    NodePtr node = make(NodeKind::kIf);
    add(*node, parse_tuple());
    end_tag();
    while (true) {
      add(*node, parse_body({"elif", "else", "endif"}));
      const std::string tag = peek().text;
      pos_ += 2;
      if (tag == "elif") {
        add(*node, parse_tuple());
        end_tag();
        continue;
      }
      end_tag();
      if (tag == "else") {
        add(*node, parse_body({"endif"}));
        closing_tag();
      }
      return node;
    }
  }

  NodePtr parse_for() {
    NodePtr node = make(NodeKind::kFor);
    node->targets = parse_targets();
    if (!take_name("in")) unexpected("'in'");
    add(*node, parse_tuple(false));
    add(*node, take_name("if") ? parse_expression() : nullptr);
    if (is_name("recursive")) fail("has a recursive loop", now().line);
    end_tag();
    ++loops_;
    const bool outer_uses_loop = std::exchange(uses_loop_, false);
    add(*node, parse_body({"else", "endfor"}));
    node->name = uses_loop_ ? "loop" : "";
    uses_loop_ = uses_loop_ || outer_uses_loop;
    --loops_;
    NodePtr otherwise;
    if (peek().text == "else") {
      closing_tag();
      otherwise = parse_body({"endfor"});
    }
    closing_tag();
    add(*node, std::move(otherwise));
    return node;
  }

  std::vector<std::string> parse_targets() {
    const bool bracket = take_op("(");
    std::vector<std::string> targets = {expect_name()};
    while (take_op(",")) targets.push_back(expect_name());
    if (bracket) expect_op(")");
    return targets;
  }

  NodePtr parse_set() {
    NodePtr node = make(NodeKind::kSet);
    node->targets = parse_targets();
    if (take_op(".")) node->name = expect_name();
    if (take_op("=")) {
      add(*node, parse_tuple());
      end_tag();
      return node;
    }
    if (!node->name.empty() || node->targets.size() != 1) unexpected("'='");
    node->kind = NodeKind::kSetBlock;
    std::vector<NodePtr> filters;
    while (take_op("|")) filters.push_back(parse_call(NodeKind::kFilter, expect_name()));
    end_tag();
    add(*node, parse_body({"endset"}));
    closing_tag();
    for (NodePtr& filter : filters) add(*node, std::move(filter));
    return node;
  }

  NodePtr parse_macro() {
    NodePtr node = make(NodeKind::kMacro, expect_name());
    expect_op("(");
    std::vector<NodePtr> defaults;
    while (!take_op(")")) {
      if (!node->targets.empty()) expect_op(",");
      node->targets.push_back(expect_name());
      defaults.push_back(take_op("=") ? parse_expression() : nullptr);
    }
    end_tag();
    const int outer = std::exchange(loops_, 0);
    add(*node, parse_body({"endmacro"}));
    loops_ = outer;
    closing_tag();
    for (NodePtr& value : defaults) add(*node, std::move(value));
    return node;
  }

  // ---- expressions
  // "a, b" without brackets is a list of two.
  NodePtr parse_tuple(bool conditional = true) {
    NodePtr first = conditional ? parse_expression() : parse_or();
    if (!is_op(",")) return first;
    NodePtr list = make(NodeKind::kList);
    add(*list, std::move(first));
    while (take_op(",")) {
      if (now().kind == TokenKind::kTagEnd || now().kind == TokenKind::kOutputEnd || is_op(")")) break;
      add(*list, conditional ? parse_expression() : parse_or());
    }
    return list;
  }

  NodePtr parse_expression() {
    const Depth depth(*this);
    NodePtr value = parse_or();
    while (take_name("if")) {
      NodePtr node = make(NodeKind::kConditional);
      add(*node, parse_or());
      NodePtr otherwise = take_name("else") ? parse_expression() : nullptr;
      add(*node, std::move(value));
      add(*node, std::move(otherwise));
      value = std::move(node);
    }
    return value;
  }

  NodePtr parse_or() {
    NodePtr left = parse_and();
    while (take_name("or")) left = binary(NodeKind::kOr, "", std::move(left), parse_and());
    return left;
  }

  NodePtr parse_and() {
    NodePtr left = parse_not();
    while (take_name("and")) left = binary(NodeKind::kAnd, "", std::move(left), parse_not());
    return left;
  }

  NodePtr parse_not() {
    const Depth depth(*this);
    if (!take_name("not")) return parse_compare();
    NodePtr node = make(NodeKind::kNot);
    add(*node, parse_not());
    return node;
  }

  std::string take_comparison() {
    for (const std::string_view op : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (take_op(op)) return std::string(op);
    }
    if (take_name("in")) return "in";
    if (is_name("not") && peek().kind == TokenKind::kName && peek().text == "in") {
      pos_ += 2;
      return "not in";
    }
    return "";
  }

  NodePtr parse_compare() {
    NodePtr left = parse_sum();
    std::string op = take_comparison();
    if (op.empty()) return left;
    NodePtr node = make(NodeKind::kCompare);
    add(*node, std::move(left));
    for (; !op.empty(); op = take_comparison()) {
      node->operators.push_back(op);
      add(*node, parse_sum());
    }
    return node;
  }

  NodePtr parse_sum() {
    NodePtr left = parse_concat();
    while (is_op("+") || is_op("-")) {
      std::string op = tokens_[pos_++].text;
      left = binary(NodeKind::kBinary, std::move(op), std::move(left), parse_concat());
    }
    return left;
  }

  NodePtr parse_concat() {
    NodePtr left = parse_product();
    while (take_op("~")) left = binary(NodeKind::kBinary, "~", std::move(left), parse_product());
    return left;
  }

  NodePtr parse_product() {
    NodePtr left = parse_power();
    while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
      std::string op = tokens_[pos_++].text;
      left = binary(NodeKind::kBinary, std::move(op), std::move(left), parse_power());
    }
    return left;
  }

  NodePtr parse_power() {
    NodePtr left = parse_unary(true);
    while (take_op("**")) left = binary(NodeKind::kBinary, "**", std::move(left), parse_unary(true));
    return left;
  }

  NodePtr parse_unary(bool with_filters) {
    const Depth depth(*this);
    NodePtr node;
    if (take_op("-")) {
      node = make(NodeKind::kNegative);
      add(*node, parse_unary(false));
    } else if (take_op("+")) {
      node = parse_unary(false);
    } else {
      node = parse_primary();
    }
    node = parse_postfix(std::move(node));
    return with_filters ? parse_filters(std::move(node)) : std::move(node);
  }

  NodePtr literal(Value value) {
    NodePtr node = make(NodeKind::kLiteral);
    node->value = std::move(value);
    ++pos_;
    return node;
  }

  NodePtr parse_primary() {
    const Token& token = now();
    switch (token.kind) {
      case TokenKind::kName:
        if (token.text == "true" || token.text == "True") return literal(Value::of(true));
        if (token.text == "false" || token.text == "False") return literal(Value::of(false));
        if (token.text == "none" || token.text == "None") return literal(Value::none());
        {
          NodePtr node = make(NodeKind::kName, token.text);
          uses_loop_ = uses_loop_ || token.text == "loop";
          ++pos_;
          return node;
        }
      case TokenKind::kString: {
        std::string text;
        while (now().kind == TokenKind::kString) text += tokens_[pos_++].text;
        --pos_;
        return literal(Value::of(Text(text)));
      }
      case TokenKind::kInt:
      case TokenKind::kFloat:
        return literal(number(token));
      case TokenKind::kOperator:
        if (take_op("(")) return parse_bracket();
        if (take_op("[")) return parse_list();
        if (take_op("{")) return parse_dict();
        break;
      default:
        break;
    }
    unexpected("an expression");
  }

  Value number(const Token& token) const {
    const char *begin = token.text.data(), *end = begin + token.text.size();
    std::int64_t integer = 0;
    double real = 0;
    const bool is_int = token.kind == TokenKind::kInt;
    const auto result = is_int ? std::from_chars(begin, end, integer) : std::from_chars(begin, end, real);
    if (result.ec != std::errc()) fail("has a number out of range", token.line);
    return is_int ? Value::of(integer) : Value::of(real);
  }

  NodePtr parse_bracket() {
    if (take_op(")")) return make(NodeKind::kList);
    NodePtr inner = parse_tuple();
    expect_op(")");
    return inner;
  }

  NodePtr parse_list() {
    NodePtr node = make(NodeKind::kList);
    while (!take_op("]")) {
      if (!node->children.empty()) expect_op(",");
      if (take_op("]")) break;
      add(*node, parse_expression());
    }
    return node;
  }

  NodePtr parse_dict() {
    NodePtr node = make(NodeKind::kDict);
    while (!take_op("}")) {
      if (!node->children.empty()) expect_op(",");
      if (take_op("}")) break;
      add(*node, parse_expression());
      expect_op(":");
      add(*node, parse_expression());
    }
    return node;
  }

  // Arguments up to the closing bracket, the opening one being taken.
  void parse_arguments(Node& node) {
    while (!take_op(")")) {
      if (!node.arguments.empty()) expect_op(",");
      if (take_op(")")) break;
      if (is_op("*") || is_op("**")) fail("spreads arguments", now().line);
      if (now().kind == TokenKind::kName && peek().kind == TokenKind::kOperator && peek().text == "=") {
        node.keywords.push_back(expect_name());
        ++pos_;
      } else if (!node.keywords.empty()) {
        unexpected("a keyword argument");
      }
      adopt(node, node.arguments, parse_expression());
    }
  }

  NodePtr parse_call(NodeKind kind, std::string name) {
    NodePtr node = make(kind, std::move(name));
    if (take_op("(")) parse_arguments(*node);
    return node;
  }

  NodePtr parse_postfix(NodePtr node) {
    while (true) {
      if (take_op(".")) {
        if (now().kind == TokenKind::kInt) fail("uses a number as an attribute", now().line);
        const std::string name = expect_name();
        NodePtr next;
        if (is_op("(")) {
          next = parse_call(NodeKind::kMethod, name);
        } else {
          next = make(NodeKind::kAttribute, name);
        }
        add(*next, std::move(node));
        node = std::move(next);
      } else if (take_op("[")) {
        node = parse_subscript(std::move(node));
      } else if (is_op("(")) {
        if (node->kind != NodeKind::kName) fail("calls something that has no name", now().line);
        node = parse_call(NodeKind::kFunction, node->name);
      } else {
        return node;
      }
    }
  }

  NodePtr parse_subscript(NodePtr object) {
    NodePtr part[3];
    bool slice = false;
    for (int i = 0; i < 3; ++i) {
      if (!is_op(":") && !is_op("]")) part[i] = parse_expression();
      if (!take_op(":")) break;
      slice = true;
    }
    expect_op("]");
    NodePtr node = make(slice ? NodeKind::kSlice : NodeKind::kItem);
    add(*node, std::move(object));
    if (!slice && !part[0]) fail("has an empty subscript", node->line);
    for (int i = 0; i < (slice ? 3 : 1); ++i) add(*node, std::move(part[i]));
    return node;
  }

  NodePtr parse_filters(NodePtr node) {
    while (true) {
      if (take_op("|")) {
        NodePtr filter = parse_call(NodeKind::kFilter, expect_name());
        add(*filter, std::move(node));
        node = parse_postfix(std::move(filter));
      } else if (take_name("is")) {
        node = parse_test(std::move(node));
      } else {
        return node;
      }
    }
  }

  NodePtr parse_test(NodePtr value) {
    const bool negated = take_name("not");
    const std::string name = expect_name();
    NodePtr test = parse_call(NodeKind::kTest, name);
    add(*test, std::move(value));
    static constexpr std::string_view kWithArgument[] = {"divisibleby", "in", "eq", "equalto", "sameas", "ne"};
    if (test->arguments.empty() &&
        std::find(std::begin(kWithArgument), std::end(kWithArgument), name) != std::end(kWithArgument)) {
      adopt(*test, test->arguments, parse_unary(false));
    }
    if (!negated) return test;
    NodePtr node = make(NodeKind::kNot);
    add(*node, std::move(test));
    return node;
  }

  std::vector<Token> tokens_;
  std::size_t pos_ = 0;
  int depth_ = 0, loops_ = 0;
  bool uses_loop_ = false;  // the name `loop` has come up in the body being read
};

}  // namespace

NodePtr parse(std::string_view source) { return Parser(source).run(); }

}  // namespace dodeca::runtime::jinja
