#include "tests/fuzz/targets.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "runtime/load/imatrix.hpp"
#include "runtime/load/json.hpp"
#include "runtime/load/safetensors.hpp"
#include "runtime/quantize/recipe_file.hpp"
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

extern "C" int fuzz_imatrix(const std::uint8_t* data, std::size_t size) {
  const MemoryFile memory(text(data, size));
  try {
    const ImportanceMatrix matrix = ImportanceMatrix::read(memory.path());
    for (const auto& [name, entry] : matrix.entries) {
      const std::size_t n_in = static_cast<std::size_t>(entry.n_in), n_slices = entry.counts.size();
      require(n_in > 0 && n_slices > 0 && entry.sums.size() == n_in * n_slices, "sums, columns and slices");
      require(ImportanceMatrix::unreached(entry).size() <= n_slices, "unreached slices");
      require(matrix.find(name, entry.n_in, entry.n_slices()) == &entry, "entry");
      for (const std::int64_t slice : {std::int64_t{0}, entry.n_slices() - 1}) {
        for (const float value : ImportanceMatrix::importance(entry, entry.n_in, slice))
          require(value >= 0, "importance");
      }
    }
  } catch (const Error&) {
  }
  return 0;
}

extern "C" int fuzz_recipe(const std::uint8_t* data, std::size_t size) {
  try {
    const FileRecipe recipe = parse_recipe(text(data, size), "fuzz");
    const FileRecipe again = parse_recipe(recipe_text(recipe), "written");
    for (const char* name : {"blk.3.ffn_down_exps.weight", "output.weight", "token_embd.weight"})
      require(recipe.type_of(name) == again.type_of(name), "a written recipe reads back as another");
  } catch (const Error&) {
  }
  return 0;
}
