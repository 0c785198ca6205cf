// The files that a model consists of, by their names alone: none is opened, so that this can be asked before anything.
#pragma once

#include <filesystem>
#include <vector>

namespace dodeca::runtime {

// Of a GGUF: itself, and of a split one all files of the set. Of a Hugging Face directory: weights, index,
// configuration, vocabulary, template, code; not what else people keep there (GGUF files, texts, results).
std::vector<std::filesystem::path> model_files(const std::filesystem::path& model);

}  // namespace dodeca::runtime
