#include "quant/dtype.hpp"

#include <algorithm>
#include <array>
#include <cstring>

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

// Ids of ggml that were given up, and those of ik_llama.cpp (which gave 36 to I2_S after ggml had used it).
constexpr ForeignType kForeign[] = {
    {4, "Q4_2 (removed from GGUF)"},        {5, "Q4_3 (removed from GGUF)"},
    {31, "Q4_0_4_4 (removed from GGUF)"},   {32, "Q4_0_4_8 (removed from GGUF)"},
    {33, "Q4_0_8_8 (removed from GGUF)"},   {36, "IQ4_NL_4_4 (removed from GGUF) or I2_S (ik_llama.cpp)"},
    {37, "IQ4_NL_4_8 (removed from GGUF)"}, {38, "IQ4_NL_8_8 (removed from GGUF)"},
    {97, "Q8_0_X4 (ik_llama.cpp)"},         {98, "Q8_1_X4 (ik_llama.cpp)"},
    {99, "Q8_2_X4 (ik_llama.cpp)"},         {133, "Q6_0 (ik_llama.cpp)"},
    {134, "IQ1_BN (ik_llama.cpp)"},         {135, "IQ2_BN (ik_llama.cpp)"},
    {136, "Q8_K64 (ik_llama.cpp)"},         {137, "IQ2_K (ik_llama.cpp)"},
    {138, "IQ3_K (ik_llama.cpp)"},          {139, "IQ4_K (ik_llama.cpp)"},
    {140, "IQ5_K (ik_llama.cpp)"},          {141, "IQ6_K (ik_llama.cpp)"},
    {144, "IQ4_KS (ik_llama.cpp)"},         {145, "IQ2_KS (ik_llama.cpp)"},
    {146, "IQ4_KSS (ik_llama.cpp)"},        {147, "Q8_K16 (ik_llama.cpp)"},
    {148, "Q8_K32 (ik_llama.cpp)"},         {149, "Q8_KR8 (ik_llama.cpp)"},
    {150, "Q8_K128 (ik_llama.cpp)"},        {151, "Q8_KV (ik_llama.cpp)"},
    {152, "IQ5_KS (ik_llama.cpp)"},         {153, "IQ2_KT (ik_llama.cpp)"},
    {154, "IQ3_KT (ik_llama.cpp)"},         {155, "IQ4_KT (ik_llama.cpp)"},
    {156, "IQ3_KS (ik_llama.cpp)"},         {157, "IQ2_KL (ik_llama.cpp)"},
    {158, "IQ1_KT (ik_llama.cpp)"},         {202, "Q4_0_R8 (ik_llama.cpp)"},
    {206, "Q5_0_R4 (ik_llama.cpp)"},        {208, "Q8_0_R8 (ik_llama.cpp)"},
    {210, "Q2_K_R4 (ik_llama.cpp)"},        {211, "Q3_K_R4 (ik_llama.cpp)"},
    {212, "Q4_K_R4 (ik_llama.cpp)"},        {213, "Q5_K_R4 (ik_llama.cpp)"},
    {214, "Q6_K_R4 (ik_llama.cpp)"},        {216, "IQ2_XXS_R4 (ik_llama.cpp)"},
    {217, "IQ2_XS_R4 (ik_llama.cpp)"},      {218, "IQ3_XXS_R4 (ik_llama.cpp)"},
    {219, "IQ1_S_R4 (ik_llama.cpp)"},       {220, "IQ4_NL_R4 (ik_llama.cpp)"},
    {221, "IQ3_S_R4 (ik_llama.cpp)"},       {222, "IQ2_S_R4 (ik_llama.cpp)"},
    {223, "IQ4_XS_R8 (ik_llama.cpp)"},      {229, "IQ1_M_R4 (ik_llama.cpp)"},
    {230, "BF16_R16 (ik_llama.cpp)"},       {233, "Q6_0_R4 (ik_llama.cpp)"},
    {335, "IQ2_BN_R4 (ik_llama.cpp)"},      {337, "IQ2_K_R4 (ik_llama.cpp)"},
    {338, "IQ3_K_R4 (ik_llama.cpp)"},       {339, "IQ4_K_R4 (ik_llama.cpp)"},
    {340, "IQ5_K_R4 (ik_llama.cpp)"},       {344, "IQ4_KS_R4 (ik_llama.cpp)"},
    {352, "IQ5_KS_R4 (ik_llama.cpp)"},      {397, "Q8_K_R16 (ik_llama.cpp)"},
    {398, "Q8_KV_R8 (ik_llama.cpp)"},       {399, "Q8_K_R8 (ik_llama.cpp)"},
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
  const auto bytes_of = [&](std::int64_t n) {
    return static_cast<std::size_t>(n / type.block_elements * type.block_bytes);
  };
  const auto prefix = static_cast<std::size_t>(type.row_prefix_bytes);
  std::memcpy(dst, row, prefix);
  std::memcpy(dst + prefix, row + prefix + bytes_of(begin), bytes_of(end - begin));
}

}  // namespace dodeca::quant
