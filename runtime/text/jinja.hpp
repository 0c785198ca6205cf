// An interpreter for the Jinja2 that chat templates are written in, with the settings of transformers: an immutable
// sandbox, trim_blocks, lstrip_blocks, loop controls, `generation` blocks, tojson without HTML escapes. The same input
// gives the same text as Jinja2 (tests/golden/text/jinja.json), or an error that names what is not known: tags, syntax
// and names that Jinja2 does not know when the template is read; what Jinja2 has and this does not when rendering comes
// to it (templates have branches for tools that plain chats never enter). Limits: kMaxSourceBytes, nesting, and for each
// rendering those of jinja_budget.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/text/jinja_value.hpp"

namespace dodeca::runtime::jinja {

struct Node;
inline constexpr std::size_t kMaxSourceBytes = std::size_t{1} << 20;

class Template {
 public:
  explicit Template(std::string_view source);  // Error{kUnsupported}
  Template(Template&&) noexcept;
  ~Template();

  // Error{kBadRequest} when the template raises an exception, Error{kUnsupported} when it does something that Jinja
  // would refuse.
  // Variables are made with the budget of this rendering.
  using Variables = std::vector<std::pair<std::string, Value>>;
  Text render(Budget& budget, Variables variables, std::optional<std::int64_t> now) const;

 private:
  std::unique_ptr<Budget> budget_;  // of the literals in the tree
  std::unique_ptr<Node> root_;
};

}  // namespace dodeca::runtime::jinja
