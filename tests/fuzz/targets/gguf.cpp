#include "runtime/load/gguf.hpp"

#include "tests/fuzz/target.hpp"
#include "tests/support/memory_file.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {

void fuzz_gguf(std::string_view bytes) {
  using namespace runtime;
  const MemoryFile memory(bytes);
  for (const GgufUse use : {GgufUse::kInspect, GgufUse::kWeights}) {
    const GgufFile file = GgufFile::open(memory.path(), use);
    for (const GgufTensor& tensor : file.tensors()) {
      require(tensor.bytes <= bytes.size() && tensor.offset <= bytes.size() - tensor.bytes, "tensor outside the file");
      require(tensor.n_elements() > 0 && tensor.n_rows() > 0 && file.find(tensor.name) == &tensor, "tensor entry");
      if (!tensor.known) continue;
      std::vector<std::byte> data(tensor.bytes);
      file.read(tensor, 0, data);
    }
    for (const auto& [key, value] : file.metadata().entries())
      require(file.metadata().find(key) == &value, "metadata entry");
  }
}

std::vector<std::string> fuzz_gguf_seeds() {
  const std::vector<float> floats(32, 1.0f);
  const std::string block(68, 'q'), four_rows(104, 'r');
  TinyGguf metadata, tensors, aligned;
  metadata.str("general.architecture", "deepseek2")
      .u8("a", 1)
      .i16("b", -1)
      .f64("c", 2)
      .boolean("d", true)
      .strings("e", {"x", "", "yz"});
  metadata.i32s("f", {1, 2, 3}).raw_array("g", 7, 2, std::string("\1\0", 2));
  tensors.f32_tensor("norm", {32}, floats).tensor("w", quant::DType::kQ8_0, {32, 2}, std::as_bytes(std::span(block)));
  tensors.raw_tensor("interleaved", 233, {32, 4}, std::as_bytes(std::span(four_rows)));  // Q6_0_R4
  aligned.alignment = 8;
  aligned.u32("general.alignment", 8)
      .f32_tensor("t", {1}, std::span(floats).first(1))
      .f32_tensor("u", {3, 2}, std::span(floats).first(6));
  return {metadata.bytes(), tensors.bytes(), aligned.bytes()};
}

}  // namespace dodeca::tests
