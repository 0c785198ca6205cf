// Which flags help where a library only names the thing that would: the one table from Remedy to words.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/error.hpp"

namespace dodeca::runtime::cli {

// "a smaller -t starts fewer"; empty for kNone. command: "dodeca run", "dodeca-bench".
std::string_view remedy_text(Remedy remedy, std::string_view command);
// what(), and the remedy behind it.
std::string error_text(const Error& error, std::string_view command);

}  // namespace dodeca::runtime::cli
