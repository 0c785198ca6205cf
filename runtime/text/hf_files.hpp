// The small files beside a Hugging Face vocabulary: roles of tokens, flags, the chat template.
#pragma once

#include <filesystem>

#include "runtime/load/json.hpp"
#include "runtime/text/vocab.hpp"

namespace dodeca::runtime {

// Null when the file is not there.
Json optional_json(const std::filesystem::path& path);
// Fills roles, more_ends and chat_template from tokenizer_config.json (already read), config.json,
// generation_config.json and chat_template.jinja.
void read_roles(const std::filesystem::path& directory, const Json& tokenizer_config, Vocab& vocab);

}  // namespace dodeca::runtime
