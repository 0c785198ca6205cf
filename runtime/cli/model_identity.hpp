// Names a model's contents for files that depend on them (results of a batch, prompt caches, unfinished quantizations).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace dodeca::runtime::cli {

// A model in two steps: what is known before it is loaded, in less than a second whatever its size, and the checksum of
// all weights, which Model::load and runtime/model/contents.hpp find while they read them.
//
// The outline is of every shard of a GGUF or every file of a Hugging Face directory: its size, its header and samples of
// its data at even distances, small files whole; not where the files are. Another outline is another model; the same
// outline does not prove that no byte was changed.
std::string model_outline(const std::filesystem::path& model);
// Where the same files are and when they were last changed: the same stamp means that nobody touched them since.
std::string model_stamp(const std::filesystem::path& model);
std::string contents_text(std::uint64_t checksum);
// All of what identifies a model whose weights were read.
std::string model_identity(std::string_view outline, std::uint64_t checksum);

// Of a file that is read whole, like an importance matrix: all its bytes.
std::string file_identity(const std::filesystem::path& file);
// All of these throw Error for what cannot be read.

}  // namespace dodeca::runtime::cli
