// Chat templates by name, for files that carry none: one Jinja source per family, as short as the format allows (no
// tools).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dodeca::runtime {

struct BuiltinTemplate {
  std::vector<std::string_view> names;  // the first is the family's own
  std::string source;
};
std::span<const BuiltinTemplate> builtin_templates();

}  // namespace dodeca::runtime
