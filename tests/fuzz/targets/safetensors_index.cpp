// An index beside two good shards.
#include "runtime/load/safetensors.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {
namespace {

std::string shard_of(std::string_view tensor) {
  const std::string header =
      R"({")" + std::string(tensor) + R"(":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})";
  return le(std::uint64_t{header.size()}) + header + "x";
}

}  // namespace

void fuzz_safetensors_index(std::string_view bytes) {
  static const bool shards = [] {
    put_file("1.safetensors", shard_of("a"));
    put_file("2.safetensors", shard_of("b"));
    return true;
  }();
  require(shards, "shards");
  put_file("model.safetensors.index.json", bytes);
  const auto dir = runtime::SafetensorsDir::open(scratch_folder());
  for (const runtime::SafeTensor& tensor : dir.tensors()) {
    std::byte byte{};
    dir.read(tensor, 0, std::span(&byte, 1));
    require(byte == std::byte{'x'} && dir.find(tensor.name) == &tensor, "tensor entry");
  }
}

std::vector<std::string> fuzz_safetensors_index_seeds() {
  return {R"({"metadata":{"total_size":2},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})",
          R"({"weight_map":{"b":"2.safetensors"}})"};
}

}  // namespace dodeca::tests
