// Walks the syntax tree: scopes, loops, macros, output. Statements are in jinja_statements.cpp, expressions in
// jinja_expressions.cpp.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/text/jinja.hpp"
#include "runtime/text/jinja_ast.hpp"
#include "runtime/text/jinja_builtins.hpp"
#include "runtime/text/jinja_value.hpp"

namespace dodeca::runtime::jinja {

// The scope that something was made in, for what runs later: a scope that ended is recognised by its number.
struct Place {
  std::size_t scope;
  std::uint64_t number;
};
struct Macro {
  const Node* node;
  Place place;
};

enum class Flow { kNext, kBreak, kContinue };

class Renderer {
 public:
  Renderer(Budget& budget, Template::Variables variables, std::optional<std::int64_t> now);
  Text run(const Node& root);

 private:
  struct Scope {
    std::map<std::string, Value, std::less<>> names;
    std::size_t parent;
    std::uint64_t number;
  };
  // One scope on top as long as it lives; of a macro or a loop in a loop, below the place where that was made.
  class InScope {
   public:
    explicit InScope(Renderer& r) : InScope(r, r.scopes_.size() - 1) {}
    InScope(Renderer& r, std::size_t parent) : renderer_(r) {
      r.budget_.work(kWorkPerNode);
      r.scopes_.push_back({{}, parent, ++r.n_scopes_});
    }
    ~InScope() { renderer_.scopes_.pop_back(); }

   private:
    Renderer& renderer_;
  };
  class Deeper;

  // ---- variables
  const Value* lookup(std::string_view name) const;
  void assign(const std::vector<std::string>& targets, const Value& value);
  void set(const std::string& name, Value value) { scopes_.back().names[name] = std::move(value); }
  Place here() const { return {scopes_.size() - 1, scopes_.back().number}; }
  void check_alive(const Place& place, std::string_view what) const;
  Value make_macro(const Node& node);

  // ---- statements
  Flow execute(const Node& node);
  Flow execute_if(const Node& node);
  Flow execute_for(const Node& node, const Value& iterable, int level);
  Value filtered_loop_items(const Node& node, const Value& iterable);
  void execute_set(const Node& node);
  Value captured(const Node& body);  // what a body prints, in a scope of its own
  Value through_filters(const Node& node, Value value);
  Flow execute_with(const Node& node);
  void execute_call_block(const Node& node);

  // ---- expressions
  Value evaluate(const Node& node);
  Value compute(const Node& node);
  Value child(const Node& node, std::size_t i) { return evaluate(*node.children[i]); }
  Value name(const Node& node);
  Value compare_chain(const Node& node);
  Value concat(const Node& node);
  Value sequence(const Node& node, ListKind kind);
  Value mapping(const Node& node);
  Value slice_of(const Node& node);
  Value filter(const Node& node);
  bool test(const Node& node);
  Arguments arguments_of(const Node& node);

  // ---- calls
  Value call(const Node& node, const Value* caller = nullptr);
  Value call_function(std::string_view name, const Arguments& arguments);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  void bind_macro_arguments(const Node& macro, const Arguments& arguments);
  Value call_loop(const Value& loop, const Arguments& arguments);
  Value call_loop_method(std::string_view name, const Value& loop, const Arguments& arguments);
  Value make_namespace(const Arguments& arguments);
  Value make_dict(const Arguments& arguments);
  Value range(const Arguments& arguments);
  std::string date(const std::string& format) const;

  Budget& budget_;
  std::optional<std::int64_t> now_;
  std::deque<Namespace> namespaces_;  // owned here: they may refer to each other and to themselves
  std::deque<Macro> macros_;
  std::vector<Scope> scopes_;
  std::uint64_t n_scopes_ = 0;
  TextBuilder out_;
  int depth_ = 0, macro_depth_ = 0;
};

// Bounds the recursion of whatever walks the tree.
class Renderer::Deeper {
 public:
  Deeper(Renderer& r, const Node& node);
  ~Deeper() { --renderer_.depth_; }

 private:
  Renderer& renderer_;
};

}  // namespace dodeca::runtime::jinja
