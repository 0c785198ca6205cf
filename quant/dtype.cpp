#include "quant/dtype.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "quant/check.hpp"

namespace dodeca::quant {
namespace {

constexpr std::array kTypes = {
#define ENTRY(decodable, name, lower, id, elements, bytes, prefix, encodable, fall_back, file_type, text) \
  TypeInfo{DType::k##name, #name, elements, bytes, prefix, decodable, encodable, DType::k##fall_back, file_type, text},
#define TYPE(...) ENTRY(true, __VA_ARGS__)
#define OPAQUE(...) ENTRY(false, __VA_ARGS__)
#include "quant/types.inc"
};

struct ForeignType {
  std::uint32_t id;
  std::string_view name;
};

constexpr ForeignType kForeign[] = {
#define TYPE(...)
#define FOREIGN(id, name) {id, name},
#include "quant/types.inc"
};

constexpr char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

}  // namespace

std::span<const TypeInfo> all_types() { return kTypes; }

const TypeInfo* find_type(std::uint32_t id) {
  const auto it = std::find_if(kTypes.begin(), kTypes.end(),
                               [&](const TypeInfo& t) { return static_cast<std::uint32_t>(t.dtype) == id; });
  return it == kTypes.end() ? nullptr : &*it;
}

const TypeInfo* find_type(std::string_view name) {
  const auto it = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeInfo& t) {
    return std::equal(t.name.begin(), t.name.end(), name.begin(), name.end(),
                      [](char a, char b) { return a == upper(b); });
  });
  return it == kTypes.end() ? nullptr : &*it;
}

const TypeInfo& type_info(DType dtype) { return *find_type(static_cast<std::uint32_t>(dtype)); }

std::string_view foreign_type_name(std::uint32_t id) {
  const auto* it =
      std::find_if(std::begin(kForeign), std::end(kForeign), [&](const ForeignType& t) { return t.id == id; });
  return it == std::end(kForeign) ? std::string_view{} : it->name;
}

std::optional<std::size_t> row_bytes(DType dtype, std::int64_t n_elements) {
  const TypeInfo& type = type_info(dtype);
  if (n_elements < 0 || n_elements % type.block_elements != 0) return std::nullopt;
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(n_elements / type.block_elements, type.block_bytes, &bytes) ||
      __builtin_add_overflow(bytes, type.row_prefix_bytes, &bytes))
    return std::nullopt;
  return bytes;
}

std::optional<std::size_t> tensor_bytes(DType dtype, std::int64_t n_elements, std::int64_t n_rows) {
  const std::optional<std::size_t> row = row_bytes(dtype, n_elements);
  std::size_t bytes = 0;
  if (!row || n_rows < 0 || __builtin_mul_overflow(*row, n_rows, &bytes)) return std::nullopt;
  return bytes;
}

void copy_columns(DType dtype, const std::byte* row, std::int64_t begin, std::int64_t end, std::byte* dst) {
  const TypeInfo& type = type_info(dtype);
  DODECA_CHECK(0 <= begin && begin <= end && begin % type.block_elements == 0 && end % type.block_elements == 0, dtype,
               begin, end);
  const auto bytes_of = [&](std::int64_t n) {
    return static_cast<std::size_t>(n / type.block_elements * type.block_bytes);
  };
  const auto prefix = static_cast<std::size_t>(type.row_prefix_bytes);
  std::memcpy(dst, row, prefix);
  std::memcpy(dst + prefix, row + prefix + bytes_of(begin), bytes_of(end - begin));
}

}  // namespace dodeca::quant
