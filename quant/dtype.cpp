#include "quant/dtype.hpp"

#include <algorithm>
#include <array>

namespace dodeca::quant {
namespace {

constexpr bool kYes = true, kNo = false;

// Sizes: ggml-org/ggml, as of August 2026.        name            elems bytes decode encode
constexpr std::array kTypes = {
    TypeInfo{DType::kF32, "F32", 1, 4, kYes, kYes},
    TypeInfo{DType::kF16, "F16", 1, 2, kYes, kYes},
    TypeInfo{DType::kQ4_0, "Q4_0", 32, 18, kYes, kYes},
    TypeInfo{DType::kQ4_1, "Q4_1", 32, 20, kYes, kYes},
    TypeInfo{DType::kQ5_0, "Q5_0", 32, 22, kYes, kYes},
    TypeInfo{DType::kQ5_1, "Q5_1", 32, 24, kYes, kYes},
    TypeInfo{DType::kQ8_0, "Q8_0", 32, 34, kYes, kYes},
    TypeInfo{DType::kQ8_1, "Q8_1", 32, 36, kNo, kNo},
    TypeInfo{DType::kQ2_K, "Q2_K", 256, 84, kYes, kYes},
    TypeInfo{DType::kQ3_K, "Q3_K", 256, 110, kYes, kYes},
    TypeInfo{DType::kQ4_K, "Q4_K", 256, 144, kYes, kYes},
    TypeInfo{DType::kQ5_K, "Q5_K", 256, 176, kYes, kYes},
    TypeInfo{DType::kQ6_K, "Q6_K", 256, 210, kYes, kYes},
    TypeInfo{DType::kQ8_K, "Q8_K", 256, 292, kYes, kYes},
    TypeInfo{DType::kIQ2_XXS, "IQ2_XXS", 256, 66, kYes, kYes},
    TypeInfo{DType::kIQ2_XS, "IQ2_XS", 256, 74, kYes, kYes},
    TypeInfo{DType::kIQ3_XXS, "IQ3_XXS", 256, 98, kYes, kYes},
    TypeInfo{DType::kIQ1_S, "IQ1_S", 256, 50, kYes, kYes},
    TypeInfo{DType::kIQ4_NL, "IQ4_NL", 32, 18, kYes, kYes},
    TypeInfo{DType::kIQ3_S, "IQ3_S", 256, 110, kYes, kYes},
    TypeInfo{DType::kIQ2_S, "IQ2_S", 256, 82, kYes, kYes},
    TypeInfo{DType::kIQ4_XS, "IQ4_XS", 256, 136, kYes, kYes},
    TypeInfo{DType::kI8, "I8", 1, 1, kNo, kNo},
    TypeInfo{DType::kI16, "I16", 1, 2, kNo, kNo},
    TypeInfo{DType::kI32, "I32", 1, 4, kNo, kNo},
    TypeInfo{DType::kI64, "I64", 1, 8, kNo, kNo},
    TypeInfo{DType::kF64, "F64", 1, 8, kNo, kNo},
    TypeInfo{DType::kIQ1_M, "IQ1_M", 256, 56, kYes, kYes},
    TypeInfo{DType::kBF16, "BF16", 1, 2, kYes, kYes},
    TypeInfo{DType::kTQ1_0, "TQ1_0", 256, 54, kYes, kNo},
    TypeInfo{DType::kTQ2_0, "TQ2_0", 256, 66, kYes, kNo},
    TypeInfo{DType::kMXFP4, "MXFP4", 32, 17, kYes, kNo},
    TypeInfo{DType::kNVFP4, "NVFP4", 64, 36, kNo, kNo},
    TypeInfo{DType::kQ1_0, "Q1_0", 128, 18, kNo, kNo},
    TypeInfo{DType::kQ2_0, "Q2_0", 64, 18, kNo, kNo},
    TypeInfo{DType::kF8_E4M3, "F8_E4M3", 1, 1, kNo, kNo},
    TypeInfo{DType::kF8_E4M3_B128, "F8_E4M3_B128", 128, 132, kYes, kYes},
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
  if (__builtin_mul_overflow(n_elements / type.block_elements, type.block_bytes, &bytes)) return std::nullopt;
  return bytes;
}

}  // namespace dodeca::quant
