#include "runtime/load/safetensors.hpp"

#include "tests/fuzz/target.hpp"
#include "tests/support/memory_file.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {

namespace {

void read_safetensors(std::string_view bytes) {
  const MemoryFile memory(bytes);
  const runtime::InputFile file(memory.path());
  for (const runtime::SafeTensor& tensor : runtime::parse_safetensors(file, 0))
    require(tensor.bytes <= bytes.size() && tensor.offset <= bytes.size() - tensor.bytes, "tensor outside the file");
  runtime::parse_safetensors(file, 0, runtime::SafetensorsUse::kHeaders);
}

}  // namespace

// With the header's length as it is, and as it should be: else few changes of the header would get past it.
void fuzz_safetensors(std::string_view bytes) {
  const std::size_t end = bytes.rfind('}');
  if (end != std::string_view::npos && end >= 8) {
    const std::uint64_t header_bytes = end + 1 - 8;
    try {
      read_safetensors(le(header_bytes) + std::string(bytes.substr(8)));
    } catch (const runtime::Error&) {
    }
  }
  read_safetensors(bytes);
}

std::vector<std::string> fuzz_safetensors_seeds() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F8_E4M3","shape":[],"data_offsets":[8,9]},"c":{"dtype":"U8","shape":[0,3],"data_offsets":[9,9]}})";
  return {le(std::uint64_t{2}) + "{}", le(std::uint64_t{header.size()}) + header + "123456789"};
}

}  // namespace dodeca::tests
