#include "runtime/text/jinja.hpp"

#include "runtime/text/jinja_ast.hpp"
#include "runtime/text/jinja_renderer.hpp"

namespace dodeca::runtime::jinja {

Template::Template(std::string_view source) : budget_(std::make_unique<Budget>()), root_(parse(*budget_, source)) {}
Template::Template(Template&&) noexcept = default;
Template::~Template() = default;

Text Template::render(Budget& budget, Variables variables, std::optional<std::int64_t> now) const {
  return Renderer(budget, std::move(variables), now).run(*root_);
}

}  // namespace dodeca::runtime::jinja
