// Writes GGUF bytes for tests, independent of the writer under test; can also write what no writer should (any version,
// counts, offsets). Keys and tensors come out in the order in which they were added.
//   TinyGguf gguf;
//   gguf.str("general.architecture", "deepseek2").u32("deepseek2.block_count", 2);
//   gguf.f32_tensor("output_norm.weight", {256}, values);
//   gguf.write(dir / "tiny.gguf");
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.hpp"

namespace dodeca::tests {

class TinyGguf {
 public:
  // Metadata.
  TinyGguf& u8(std::string_view key, std::uint8_t value);
  TinyGguf& i8(std::string_view key, std::int8_t value);
  TinyGguf& u16(std::string_view key, std::uint16_t value);
  TinyGguf& i16(std::string_view key, std::int16_t value);
  TinyGguf& u32(std::string_view key, std::uint32_t value);
  TinyGguf& i32(std::string_view key, std::int32_t value);
  TinyGguf& u64(std::string_view key, std::uint64_t value);
  TinyGguf& i64(std::string_view key, std::int64_t value);
  TinyGguf& f32(std::string_view key, float value);
  TinyGguf& f64(std::string_view key, double value);
  TinyGguf& boolean(std::string_view key, bool value);
  TinyGguf& str(std::string_view key, std::string_view value);
  TinyGguf& strings(std::string_view key, const std::vector<std::string>& values);
  TinyGguf& f32s(std::string_view key, const std::vector<float>& values);
  TinyGguf& i32s(std::string_view key, const std::vector<std::int32_t>& values);
  TinyGguf& u32s(std::string_view key, const std::vector<std::uint32_t>& values);
  // A value as raw bytes behind its type id.
  TinyGguf& raw(std::string_view key, std::uint32_t type, std::string_view value_bytes);
  // An array of any element type, elements as raw bytes.
  TinyGguf& raw_array(std::string_view key, std::uint32_t element_type, std::uint64_t count,
                      std::string_view element_bytes);

  // Tensors. dims[0] is contiguous. Data shorter or longer than the type says are written as they are.
  TinyGguf& tensor(std::string_view name, quant::DType dtype, const std::vector<std::int64_t>& dims,
                   std::span<const std::byte> data);
  TinyGguf& raw_tensor(std::string_view name, std::uint32_t type_id, const std::vector<std::int64_t>& dims,
                       std::span<const std::byte> data, std::optional<std::uint64_t> offset = std::nullopt);
  TinyGguf& f32_tensor(std::string_view name, const std::vector<std::int64_t>& dims, std::span<const float> values);

  // The frame.
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;                         // of the data; say general.alignment as well when it is not 32
  std::optional<std::uint64_t> tensor_count, kv_count;  // instead of the true ones

  std::string bytes() const;   // without padding behind the last tensor
  std::string header() const;  // up to and including the padding before the data
  void write(const std::filesystem::path& path) const;

 private:
  struct Tensor {
    std::string info;  // all but the offset
    std::string data;
    std::optional<std::uint64_t> offset;
  };
  std::vector<std::string> pairs_;
  std::vector<Tensor> tensors_;
};

// Little-endian bytes of a value, as files have them.
template <class T>
std::string le(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}
// u64 length and the bytes.
std::string gguf_string(std::string_view text);
void write_bytes(const std::filesystem::path& path, std::string_view bytes);
std::string read_bytes(const std::filesystem::path& path);

}  // namespace dodeca::tests
