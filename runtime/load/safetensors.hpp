// A Hugging Face checkpoint directory's weights: one safetensors file, or shards with model.safetensors.index.json.
// Format: huggingface/safetensors README. All of its rejections hold: holes, overlaps, trailing bytes, duplicate keys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.hpp"
#include "runtime/base/error.hpp"
#include "runtime/base/file.hpp"

namespace dodeca::runtime {

struct SafeTensor {
  std::string name;
  std::string dtype_name;           // as in the file: "F8_E4M3", "BF16", "F32", ...
  quant::DType dtype;               // kF8_E4M3, kBF16, kF16, kF32, kF64, kI8 ...; see `known`
  bool known = true;                // false: a dtype that we do not read; an error only when somebody asks for the data
  std::vector<std::int64_t> shape;  // row-major: shape.back() contiguous
  int file = 0;
  std::uint64_t offset = 0;  // from the start of that file
  std::uint64_t bytes = 0;
};

enum class SafetensorsUse { kWeights, kHeaders };

class SafetensorsDir {
 public:
  // A directory with model.safetensors, or with the index and its shards. Missing shards are all named. With
  // SafetensorsUse::kHeaders files may end anywhere behind their headers: nothing but those can be read then.
  static SafetensorsDir open(const std::filesystem::path& directory, SafetensorsUse use = SafetensorsUse::kWeights);

  const std::vector<SafeTensor>& tensors() const { return tensors_; }
  const SafeTensor* find(std::string_view name) const;
  void read(const SafeTensor& tensor, std::uint64_t offset, std::span<std::byte> dst) const;
  const std::vector<InputFile>& files() const { return files_; }

 private:
  std::vector<InputFile> files_;
  std::vector<SafeTensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// Parses one file's header into tensors (file index `file`); exposed for tests and fuzzing.
std::vector<SafeTensor> parse_safetensors(const InputFile& file, int file_index,
                                          SafetensorsUse use = SafetensorsUse::kWeights);

}  // namespace dodeca::runtime
