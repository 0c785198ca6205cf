#include "tests/support/tiny_gguf.hpp"

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace dodeca::tests {

namespace {

template <class T>
std::string array_bytes(std::uint32_t element_type, const std::vector<T>& values) {
  std::string out = le(element_type) + le(std::uint64_t{values.size()});
  for (const T& value : values) out += le(value);
  return out;
}

void pad(std::string& bytes, std::uint64_t alignment) {
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
}

}  // namespace

std::string gguf_string(std::string_view text) { return le(std::uint64_t{text.size()}).append(text); }

void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

TinyGguf& TinyGguf::raw(std::string_view key, std::uint32_t type, std::string_view value_bytes) {
  pairs_.push_back(gguf_string(key).append(le(type)).append(value_bytes));
  return *this;
}

TinyGguf& TinyGguf::raw_array(std::string_view key, std::uint32_t element_type, std::uint64_t count,
                              std::string_view element_bytes) {
  return raw(key, 9, (le(element_type) + le(count)).append(element_bytes));
}

TinyGguf& TinyGguf::u8(std::string_view key, std::uint8_t value) { return raw(key, 0, le(value)); }
TinyGguf& TinyGguf::i8(std::string_view key, std::int8_t value) { return raw(key, 1, le(value)); }
TinyGguf& TinyGguf::u16(std::string_view key, std::uint16_t value) { return raw(key, 2, le(value)); }
TinyGguf& TinyGguf::i16(std::string_view key, std::int16_t value) { return raw(key, 3, le(value)); }
TinyGguf& TinyGguf::u32(std::string_view key, std::uint32_t value) { return raw(key, 4, le(value)); }
TinyGguf& TinyGguf::i32(std::string_view key, std::int32_t value) { return raw(key, 5, le(value)); }
TinyGguf& TinyGguf::f32(std::string_view key, float value) { return raw(key, 6, le(value)); }
TinyGguf& TinyGguf::boolean(std::string_view key, bool value) {
  return raw(key, 7, le(static_cast<std::uint8_t>(value)));
}
TinyGguf& TinyGguf::str(std::string_view key, std::string_view value) { return raw(key, 8, gguf_string(value)); }
TinyGguf& TinyGguf::u64(std::string_view key, std::uint64_t value) { return raw(key, 10, le(value)); }
TinyGguf& TinyGguf::i64(std::string_view key, std::int64_t value) { return raw(key, 11, le(value)); }
TinyGguf& TinyGguf::f64(std::string_view key, double value) { return raw(key, 12, le(value)); }

TinyGguf& TinyGguf::strings(std::string_view key, const std::vector<std::string>& values) {
  std::string elements;
  for (const std::string& value : values) elements += gguf_string(value);
  return raw_array(key, 8, values.size(), elements);
}
TinyGguf& TinyGguf::f32s(std::string_view key, const std::vector<float>& values) {
  return raw(key, 9, array_bytes(6, values));
}
TinyGguf& TinyGguf::i32s(std::string_view key, const std::vector<std::int32_t>& values) {
  return raw(key, 9, array_bytes(5, values));
}
TinyGguf& TinyGguf::u32s(std::string_view key, const std::vector<std::uint32_t>& values) {
  return raw(key, 9, array_bytes(4, values));
}

TinyGguf& TinyGguf::raw_tensor(std::string_view name, std::uint32_t type_id, const std::vector<std::int64_t>& dims,
                               std::span<const std::byte> data, std::optional<std::uint64_t> offset) {
  Tensor tensor;
  tensor.info = gguf_string(name) + le(static_cast<std::uint32_t>(dims.size()));
  for (const std::int64_t dim : dims) tensor.info += le(dim);
  tensor.info += le(type_id);
  tensor.data.assign(reinterpret_cast<const char*>(data.data()), data.size());
  tensor.offset = offset;
  tensors_.push_back(std::move(tensor));
  return *this;
}

TinyGguf& TinyGguf::tensor(std::string_view name, quant::DType dtype, const std::vector<std::int64_t>& dims,
                           std::span<const std::byte> data) {
  return raw_tensor(name, static_cast<std::uint32_t>(dtype), dims, data);
}

TinyGguf& TinyGguf::f32_tensor(std::string_view name, const std::vector<std::int64_t>& dims,
                               std::span<const float> values) {
  return tensor(name, quant::DType::kF32, dims, std::as_bytes(values));
}

std::string TinyGguf::header() const {
  std::string out =
      "GGUF" + le(version) + le(tensor_count.value_or(tensors_.size())) + le(kv_count.value_or(pairs_.size()));
  for (const std::string& pair : pairs_) out += pair;
  std::uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    out += tensor.info + le(tensor.offset.value_or(offset));
    offset += (tensor.data.size() + alignment - 1) / alignment * alignment;
  }
  if (!tensors_.empty()) pad(out, alignment);
  return out;
}

std::string TinyGguf::bytes() const {
  std::string out = header();
  for (const Tensor& tensor : tensors_) {
    if (&tensor != tensors_.data()) pad(out, alignment);
    out += tensor.data;
  }
  return out;
}

void TinyGguf::write(const std::filesystem::path& path) const { write_bytes(path, bytes()); }

}  // namespace dodeca::tests
