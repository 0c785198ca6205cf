#include "tests/fuzz/targets.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "runtime/load/json.hpp"
#include "runtime/load/safetensors.hpp"
#include "tests/support/memory_file.hpp"

namespace {

using namespace dodeca::runtime;
using dodeca::tests::MemoryFile;

std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

void require(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

}  // namespace

extern "C" int fuzz_gguf(const std::uint8_t* data, std::size_t size) {
  const MemoryFile memory(text(data, size));
  for (const GgufUse use : {GgufUse::kWeights, GgufUse::kInspect}) {
    try {
      const GgufFile file = GgufFile::open(memory.path(), use);
      for (const GgufTensor& tensor : file.tensors()) {
        require(tensor.bytes <= size && tensor.offset <= size - tensor.bytes, "tensor outside the file");
        require(tensor.n_elements() > 0 && tensor.n_rows() > 0 && file.find(tensor.name) == &tensor, "tensor entry");
        if (!tensor.known) continue;
        std::vector<std::byte> bytes(tensor.bytes);
        file.read(tensor, 0, bytes);
      }
      for (const auto& [key, value] : file.metadata().entries())
        require(file.metadata().find(key) == &value, "metadata entry");
    } catch (const Error&) {
    }
  }
  return 0;
}

extern "C" int fuzz_safetensors(const std::uint8_t* data, std::size_t size) {
  const MemoryFile memory(text(data, size));
  try {
    const InputFile file(memory.path());
    for (const SafeTensor& tensor : parse_safetensors(file, 0)) {
      require(tensor.bytes <= size && tensor.offset <= size - tensor.bytes, "tensor outside the file");
    }
  } catch (const Error&) {
  }
  return 0;
}

extern "C" int fuzz_json(const std::uint8_t* data, std::size_t size) {
  try {
    const Json json = parse_json(text(data, size), "fuzz");
    require(parse_json(json.dump(), "dump") == json, "a dumped document reads back as another");
  } catch (const Error&) {
  }
  return 0;
}
