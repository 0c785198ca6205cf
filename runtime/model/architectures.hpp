// Models that dodeca knows by name and does not run.
#pragma once

#include <string_view>

namespace dodeca::runtime {

// Throws Error{kUnsupported} with what is missing, when `name` is of such a model: GGUF's general.architecture, or the
// model type or class of a config.json ("deepseek4", "deepseek_v4", "DeepseekV4ForCausalLM"). Nothing happens otherwise.
// supported: what the error names as such.
void refuse_relative(std::string_view name, std::string_view supported);

}  // namespace dodeca::runtime
