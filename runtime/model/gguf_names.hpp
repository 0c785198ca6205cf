// The names that converters give to the tensors of one architecture are not always llama.cpp's.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/log.hpp"
#include "runtime/load/gguf.hpp"
#include "runtime/model/weight_role.hpp"

namespace dodeca::runtime {

// llama.cpp's name of a tensor under any known name of another converter; other names as they are.
std::string usual_name(std::string_view name);

// llama.cpp's name of a weight in files of an architecture, where it is not gguf_name(): glm4moe and gpt-oss call the
// norm before the feed-forward post_attention_norm. use_usual_names() turns it into gguf_name().
std::string name_in_file(std::string_view architecture, WeightId id);

// Gives the file's tensors their usual names and says so in one line. Error{kBadFile} when two tensors would have the
// same.
void use_usual_names(GgufFile& file, const Log& log);

}  // namespace dodeca::runtime
