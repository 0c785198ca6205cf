// Tokens -> syntax tree, by recursive descent along Jinja2's own levels of precedence.
#include <algorithm>
#include <charconv>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_ast.hpp"
#include "runtime/text/jinja_builtins.hpp"

namespace dodeca::runtime::jinja {
namespace {

constexpr int kMaxHeight = 200;

class Parser {
 public:
  Parser(Budget& budget, std::string_view source) : budget_(budget), tokens_(tokenize(budget, source)) {}

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
  [[noreturn]] void fail(std::string_view what, int line) const {
    budget_.set_line(line);
    budget_.fail(what);
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
      if (++parser.depth_ > kMaxHeight) parser.fail("is nested too deeply", parser.now().line);
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
        data->value = Value::of(budget_, tokens_[pos_++].text);
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

  // What Jinja2 checks while it compiles: names of filters and tests, unless an `if` may never come to them.
  struct Soft {
    Soft(Parser& p, bool soft) : parser(p), outer(std::exchange(p.soft_, soft)) {}
    ~Soft() { parser.soft_ = outer; }
    Parser& parser;
    bool outer;
  };

  NodePtr parse_statement() {
    const int line = now().line;
    const std::string name = expect_name();
    if (name == "if") return parse_if();
    if (name == "for") return parse_for();
    if (name == "set") return parse_set();
    if (name == "macro") return parse_macro(expect_name());
    if (name == "call") return parse_call_block();
    if (name == "filter") return parse_filter_block();
    if (name == "with") return parse_with();
    if (name == "break" || name == "continue") {
      if (loops_ == 0) fail(fmt::format("has '{}' outside a loop", name), line);
      NodePtr node = make(name == "break" ? NodeKind::kBreak : NodeKind::kContinue);
      end_tag();
      return node;
    }
    if (name == "generation") return parse_generation();
    fail(fmt::format("uses the unknown tag '{}'", name), line);
  }

  // The body of a tag that renders apart from what is around it.
  NodePtr parse_inner_body(const std::vector<std::string_view>& ends) {
    const Soft hard(*this, false);
    const int outer = std::exchange(loops_, 0);
    NodePtr body = parse_body(ends);
    loops_ = outer;
    return body;
  }

  // Marks what a model should learn; renders as its content, which is a call block's for Jinja2.
  NodePtr parse_generation() {
    NodePtr node = make(NodeKind::kWith);
    end_tag();
    add(*node, parse_inner_body({"endgeneration"}));
    closing_tag();
    return node;
  }

  NodePtr parse_if() {
    NodePtr node = make(NodeKind::kIf);
    const Soft soft(*this, true);
    add(*node, parse_tuple(false));
    end_tag();
    while (true) {
      add(*node, parse_body({"elif", "else", "endif"}));
      const std::string tag = peek().text;
      pos_ += 2;
      if (tag == "elif") {
        add(*node, parse_tuple(false));
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
    const Soft hard(*this, false);
    add(*node, take_name("if") ? parse_expression() : nullptr);
    const bool recursive = take_name("recursive");
    end_tag();
    ++loops_;
    const bool outer_uses_loop = std::exchange(uses_loop_, false);
    add(*node, parse_body({"else", "endfor"}));
    node->name = recursive ? "recursive" : uses_loop_ ? "loop" : "";
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

  std::string target_name() {
    std::string name = expect_name();
    for (const std::string_view word : {"true", "false", "none", "True", "False", "None"}) {
      if (name == word) fail(fmt::format("assigns to '{}'", name), now().line);
    }
    return name;
  }

  // A name, or several with commas between; "(a,)" is a tuple of one, a name with an empty one behind it.
  std::vector<std::string> parse_targets() {
    const bool bracket = take_op("(");
    std::vector<std::string> targets = {target_name()};
    bool tuple = false;
    while (take_op(",")) {
      tuple = true;
      if (bracket && is_op(")")) break;
      targets.push_back(target_name());
    }
    if (bracket) expect_op(")");
    if (tuple && targets.size() == 1) targets.emplace_back();
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
    if (node->targets.size() != 1) unexpected("'='");
    node->kind = NodeKind::kSetBlock;
    std::vector<NodePtr> filters;
    while (take_op("|")) filters.push_back(parse_filter());
    end_tag();
    add(*node, parse_inner_body({"endset"}));
    closing_tag();
    for (NodePtr& filter : filters) add(*node, std::move(filter));
    return node;
  }

  NodePtr parse_filter_block() {
    NodePtr node = make(NodeKind::kFilterBlock);
    std::vector<NodePtr> filters;
    do {
      filters.push_back(parse_filter());
    } while (take_op("|"));
    end_tag();
    add(*node, parse_inner_body({"endfilter"}));
    closing_tag();
    for (NodePtr& filter : filters) add(*node, std::move(filter));
    return node;
  }

  NodePtr parse_with() {
    NodePtr node = make(NodeKind::kWith);
    std::vector<NodePtr> values;
    while (now().kind != TokenKind::kTagEnd) {
      if (!values.empty()) expect_op(",");
      node->targets.push_back(target_name());
      expect_op("=");
      values.push_back(parse_expression());
    }
    end_tag();
    const Soft hard(*this, false);
    add(*node, parse_body({"endwith"}));
    closing_tag();
    for (NodePtr& value : values) add(*node, std::move(value));
    return node;
  }

  std::vector<NodePtr> parse_signature(Node& node) {
    std::vector<NodePtr> defaults;
    expect_op("(");
    while (!take_op(")")) {
      if (!node.targets.empty()) expect_op(",");
      node.targets.push_back(target_name());
      const bool has_default = take_op("=");
      if (!has_default && !defaults.empty() && defaults.back())
        fail("has a parameter without a default behind one with a default", now().line);
      defaults.push_back(has_default ? parse_expression() : nullptr);
    }
    return defaults;
  }

  // The body of a macro, the signature being read; `end` closes it.
  void finish_macro(Node& node, std::vector<NodePtr> defaults, std::string_view end) {
    end_tag();
    const auto outer = std::exchange(specials_, {});
    add(node, parse_inner_body({end}));
    node.keywords = specials_;
    specials_.insert(specials_.end(), outer.begin(), outer.end());
    closing_tag();
    for (NodePtr& value : defaults) add(node, std::move(value));
  }

  NodePtr parse_macro(std::string name) {
    NodePtr node = make(NodeKind::kMacro, std::move(name));
    std::vector<NodePtr> defaults = parse_signature(*node);
    finish_macro(*node, std::move(defaults), "endmacro");
    return node;
  }

  NodePtr parse_call_block() {
    NodePtr node = make(NodeKind::kCallBlock);
    NodePtr caller = make(NodeKind::kMacro, "caller");
    std::vector<NodePtr> defaults;
    if (is_op("(")) defaults = parse_signature(*caller);
    NodePtr call = parse_expression();
    if (call->kind != NodeKind::kCall) fail("has a call block that calls nothing", node->line);
    finish_macro(*caller, std::move(defaults), "endcall");
    add(*node, std::move(caller));
    add(*node, std::move(call));
    return node;
  }

  // ---- expressions
  // "a, b" without brackets is a tuple of two; inside brackets nothing at all is an empty one.
  NodePtr parse_tuple(bool conditional = true, bool bracket = false) {
    const auto at_end = [&] {
      return now().kind == TokenKind::kTagEnd || now().kind == TokenKind::kOutputEnd || is_op(")");
    };
    if (bracket && is_op(")")) return make(NodeKind::kTuple);
    NodePtr first = conditional ? parse_expression() : parse_or();
    if (!is_op(",")) return first;
    NodePtr tuple = make(NodeKind::kTuple);
    add(*tuple, std::move(first));
    while (take_op(",")) {
      if (at_end() || (!conditional && is_name("recursive"))) break;
      add(*tuple, conditional ? parse_expression() : parse_or());
    }
    return tuple;
  }

  NodePtr parse_expression() {
    const Depth depth(*this);
    NodePtr value = parse_or();
    while (take_name("if")) {
      NodePtr node = make(NodeKind::kConditional);
      const Soft soft(*this, true);
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
    NodePtr first = parse_product();
    if (!is_op("~")) return first;
    NodePtr node = make(NodeKind::kConcat);
    add(*node, std::move(first));
    while (take_op("~")) add(*node, parse_product());
    return node;
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
      node = make(NodeKind::kPositive);
      add(*node, parse_unary(false));
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
          if (token.text == "caller" || token.text == "varargs" || token.text == "kwargs")
            specials_.push_back(token.text);
          ++pos_;
          return node;
        }
      case TokenKind::kString: {
        std::string text;
        while (now().kind == TokenKind::kString) text += tokens_[pos_++].text;
        --pos_;
        return literal(Value::of(budget_, text));
      }
      case TokenKind::kInt:
      case TokenKind::kFloat:
        return literal(number(token));
      case TokenKind::kOperator:
        if (take_op("(")) {
          NodePtr inner = parse_tuple(true, true);
          expect_op(")");
          return inner;
        }
        if (take_op("[")) return parse_list();
        if (take_op("{")) return parse_dict();
        break;
      default:
        break;
    }
    unexpected("an expression");
  }

  Value number(const Token& token) const {
    if (token.kind == TokenKind::kFloat) {
      double real = 0;
      const auto result = std::from_chars(token.text.data(), token.text.data() + token.text.size(), real);
      if (result.ec != std::errc()) fail("has a number out of range", token.line);
      return Value::of(real);
    }
    const bool prefixed = token.text.size() > 2 && token.text[1] > '9';
    const int base = !prefixed ? 10 : token.text[1] == 'x' ? 16 : token.text[1] == 'o' ? 8 : 2;
    Integer integer = 0;
    for (const char c : token.text.substr(prefixed ? 2 : 0)) {
      const Integer digit = c <= '9' ? c - '0' : c - 'a' + 10;
      if (__builtin_mul_overflow(integer, Integer{base}, &integer) || __builtin_add_overflow(integer, digit, &integer))
        fail("has an integer that is too large", token.line);
    }
    return Value::of(integer);
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

  // Dotted names are names of filters and tests too.
  std::string dotted_name() {
    std::string name = expect_name();
    while (take_op(".")) name += "." + expect_name();
    return name;
  }

  NodePtr parse_filter() {
    NodePtr node = make(NodeKind::kFilter, dotted_name());
    if (!soft_ && !is_filter(node->name)) fail(fmt::format("uses the unknown filter '{}'", node->name), node->line);
    if (take_op("(")) parse_arguments(*node);
    return node;
  }

  NodePtr parse_call(NodePtr what) {
    NodePtr node = make(NodeKind::kCall);
    expect_op("(");
    parse_arguments(*node);
    add(*node, std::move(what));
    return node;
  }

  NodePtr parse_postfix(NodePtr node) {
    while (true) {
      if (take_op(".")) {
        NodePtr next = make(now().kind == TokenKind::kInt ? NodeKind::kItem : NodeKind::kAttribute);
        NodePtr key;
        if (next->kind == NodeKind::kItem) {
          key = literal(number(now()));
        } else {
          next->name = expect_name();
        }
        add(*next, std::move(node));
        if (key) add(*next, std::move(key));
        node = std::move(next);
      } else if (take_op("[")) {
        node = parse_subscript(std::move(node));
      } else if (is_op("(")) {
        node = parse_call(std::move(node));
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
      if (i == 2 || !take_op(":")) break;
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
        NodePtr filter = parse_filter();
        add(*filter, std::move(node));
        node = std::move(filter);
      } else if (take_name("is")) {
        node = parse_test(std::move(node));
      } else if (is_op("(")) {
        node = parse_call(std::move(node));
      } else {
        return node;
      }
    }
  }

  NodePtr parse_test(NodePtr value) {
    const bool negated = take_name("not");
    NodePtr test = make(NodeKind::kTest, dotted_name());
    if (!soft_ && !is_test(test->name)) fail(fmt::format("uses the unknown test '{}'", test->name), test->line);
    const TokenKind kind = now().kind;
    if (take_op("(")) {
      parse_arguments(*test);
    } else if (is_name("is")) {
      fail("chains tests", now().line);
    } else if (kind == TokenKind::kString || kind == TokenKind::kInt || kind == TokenKind::kFloat || is_op("[") ||
               is_op("{") || (kind == TokenKind::kName && !is_name("else") && !is_name("or") && !is_name("and"))) {
      adopt(*test, test->arguments, parse_postfix(parse_primary()));
    }
    add(*test, std::move(value));
    if (!negated) return test;
    NodePtr node = make(NodeKind::kNot);
    add(*node, std::move(test));
    return node;
  }

  Budget& budget_;
  std::vector<Token> tokens_;
  std::size_t pos_ = 0;
  int depth_ = 0, loops_ = 0;
  bool soft_ = false;
  std::vector<std::string> specials_;  // caller, varargs and kwargs, as the macro being read uses them
  bool uses_loop_ = false;             // the name `loop` has come up in the body being read
};

}  // namespace

NodePtr parse(Budget& budget, std::string_view source) { return Parser(budget, source).run(); }

}  // namespace dodeca::runtime::jinja
