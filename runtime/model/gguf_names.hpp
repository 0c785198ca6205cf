// The names that converters give to the tensors of one architecture are not always llama.cpp's.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/log.hpp"
#include "runtime/load/gguf.hpp"

namespace dodeca::runtime {

// llama.cpp's name of a tensor under any known name of another converter; other names as they are.
std::string usual_name(std::string_view name);

// Gives the file's tensors their usual names and says so in one line. Error{kBadFile} when two tensors would have the
// same.
void use_usual_names(GgufFile& file, const Log& log);

}  // namespace dodeca::runtime
