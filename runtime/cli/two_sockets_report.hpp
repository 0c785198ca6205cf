// What two sockets, and nodes that are smaller than a socket, are predicted to give, term by term: a section of
// bench/PLAN.md.
#pragma once

#include <string>

namespace dodeca::runtime::cli {

std::string two_sockets_text(const std::string& shape, const std::string& recipe);

}  // namespace dodeca::runtime::cli
