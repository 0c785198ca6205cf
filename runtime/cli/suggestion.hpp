// Which of the names that there are somebody may have meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dodeca::runtime::cli {

// The name that begins as `wrong` does, or that few slips (insert, delete, replace, swap of neighbours) make of it: one
// in three letters at most. Leading dashes do not count. Empty when none is near: a far one would mislead.
std::string nearest_name(std::string_view wrong, const std::vector<std::string>& known);

}  // namespace dodeca::runtime::cli
