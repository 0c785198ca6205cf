// Names a model's contents for files that depend on them (results of a batch, prompt caches, unfinished quantizations).
#pragma once

#include <filesystem>
#include <string>

namespace dodeca::runtime::cli {

// Of every shard of a GGUF, every file of a Hugging Face directory, or any other single file: its size, its header and
// samples of its data at even distances, small files whole; not where the files are. Bounded reads, so that it takes
// less than a second for a model of any size; it tells models apart and does not prove that no byte was changed.
// Throws Error for what cannot be read.
std::string model_identity(const std::filesystem::path& model);

}  // namespace dodeca::runtime::cli
