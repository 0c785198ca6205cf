// A small interpreter for the Jinja2 that chat templates are written in, with the settings of transformers:
// trim_blocks, lstrip_blocks, loop controls, `generation` blocks, tojson without HTML escapes. The same input gives the
// same text as Jinja2. What it does not know is an error, not a guess: tags and syntax when the template is read;
// filters, tests, methods and functions when rendering comes to them, as in Jinja2 (templates have branches for tools
// that plain chats never enter). Limits: source 4 MiB, nesting 200, 40 million steps, output 256 MiB.
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

class Template {
 public:
  explicit Template(std::string_view source);  // Error{kUnsupported}
  Template(Template&&) noexcept;
  ~Template();

  // Error{kBadRequest} when the template raises an exception, Error{kUnsupported} when it does something that Jinja
  // would refuse.
  Text render(Dict variables, std::optional<std::int64_t> now) const;

 private:
  std::unique_ptr<Node> root_;
};

}  // namespace dodeca::runtime::jinja
