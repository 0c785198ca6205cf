// A Hugging Face directory written by hand: config.json and model.safetensors.
//   TinyCheckpoint checkpoint;
//   checkpoint.add("model.norm.weight", "F32", {4}, bytes);
//   checkpoint.write(dir.path(), config);
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {

class TinyCheckpoint {
 public:
  struct Tensor {
    std::string name, dtype;
    std::vector<std::int64_t> shape;
    std::string bytes;
  };
  std::vector<Tensor> tensors;

  void add(std::string name, std::string dtype, std::vector<std::int64_t> shape, std::string bytes) {
    tensors.push_back({std::move(name), std::move(dtype), std::move(shape), std::move(bytes)});
  }
  Tensor& at(std::string_view name) {
    for (Tensor& tensor : tensors)
      if (tensor.name == name) return tensor;
    throw std::out_of_range(std::string(name));
  }
  void drop(std::string_view name) {
    std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name == name; });
  }

  std::string safetensors() const {
    nlohmann::json header = nlohmann::json::object();
    std::string data;
    for (const Tensor& tensor : tensors) {
      const std::size_t begin = data.size();
      data += tensor.bytes;
      header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
    }
    const std::string text = header.dump();
    return le(std::uint64_t{text.size()}) + text + data;
  }
  void write(const std::filesystem::path& directory, const nlohmann::json& config) const {
    std::ofstream(directory / "config.json") << config.dump();
    std::ofstream(directory / "model.safetensors", std::ios::binary) << safetensors();
  }
};

}  // namespace dodeca::tests
