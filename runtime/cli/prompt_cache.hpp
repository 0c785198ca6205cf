// The file of --prompt-cache: a processed prompt's tokens and its rows of the KV cache, with the model they belong to
// and a checksum over everything. Written whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "runtime/exec/kv_cache.hpp"

namespace dodeca::runtime::cli {

// Throws Error{kIo, kDoesNotFit} when it cannot be written.
void save_prompt_cache(const std::filesystem::path& path, const std::string& identity,
                       std::span<const std::int32_t> tokens, const exec::KvCache& cache, std::int32_t sequence);
// Fills the (empty) sequence; returns its tokens. Throws Error{kBadFile} when the file is damaged, or of another model
// or cache type, or larger than the cache has room for; nothing has been restored then. Error{kBadRequest}: the
// file is something else, not to be overwritten.
std::vector<std::int32_t> load_prompt_cache(const std::filesystem::path& path, const std::string& identity,
                                            exec::KvCache& cache, std::int32_t sequence);

}  // namespace dodeca::runtime::cli
