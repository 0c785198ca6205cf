#include "runtime/model/model_files.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "runtime/base/file_roles.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::string_view kExtensions[] = {".safetensors", ".json", ".model", ".jinja", ".tiktoken",
                                            ".py",          ".bin",  ".pt",    ".pth"};
constexpr std::string_view kNames[] = {"merges.txt", "vocab.txt", "LICENSE", "README.md"};

bool is_of_checkpoint(const std::filesystem::path& path) {
  return std::ranges::find(kExtensions, path.extension().string()) != std::end(kExtensions) ||
         std::ranges::find(kNames, path.filename().string()) != std::end(kNames);
}

}  // namespace

std::vector<std::filesystem::path> model_files(const std::filesystem::path& model) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<fs::path> files;
  if (fs::is_directory(model, error)) {
    for (auto entry = fs::directory_iterator(model, error); !error && entry != fs::directory_iterator();
         entry.increment(error))
      if (is_of_checkpoint(entry->path())) files.push_back(entry->path());
    return files;
  }
  files.push_back(model);
  // "m-00001-of-00005.gguf": every file of five that begins with m-.
  const std::string name = model.filename().string();
  constexpr std::string_view kNumber = "-00001";
  const std::size_t of = name.rfind("-of-");
  if (of == std::string::npos || of < kNumber.size() ||
      !is_numbered_name(name, name.substr(0, of - kNumber.size()), "-#-of-#.gguf"))
    return files;
  const fs::path stem = model.parent_path() / name.substr(0, of - kNumber.size());
  for (const fs::path& sibling : numbered_files(stem, "-#" + name.substr(of)))
    if (sibling.filename() != model.filename()) files.push_back(sibling);
  return files;
}

}  // namespace dodeca::runtime
