#include "runtime/quantize/file_type.hpp"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string_view>

namespace dodeca::runtime {
namespace {

using quant::DType;

constexpr std::uint32_t kGuessed = 1024;  // a flag: told from the tensors

struct FileType {
  std::uint32_t number;
  std::string_view text;
  std::optional<DType> dtype;  // of all matrices, where the number stands for one type as well
};
constexpr FileType kFileTypes[] = {
    {0, "all F32", DType::kF32},
    {1, "F16", DType::kF16},
    {2, "Q4_0", DType::kQ4_0},
    {3, "Q4_1", DType::kQ4_1},
    {7, "Q8_0", DType::kQ8_0},
    {8, "Q5_0", DType::kQ5_0},
    {9, "Q5_1", DType::kQ5_1},
    {10, "Q2_K - Medium", DType::kQ2_K},
    {11, "Q3_K - Small", DType::kQ3_K},
    {12, "Q3_K - Medium", std::nullopt},
    {13, "Q3_K - Large", std::nullopt},
    {14, "Q4_K - Small", DType::kQ4_K},
    {15, "Q4_K - Medium", std::nullopt},
    {16, "Q5_K - Small", DType::kQ5_K},
    {17, "Q5_K - Medium", std::nullopt},
    {18, "Q6_K", DType::kQ6_K},
    {19, "IQ2_XXS - 2.0625 bpw", DType::kIQ2_XXS},
    {20, "IQ2_XS - 2.3125 bpw", DType::kIQ2_XS},
    {21, "Q2_K - Small", std::nullopt},
    {22, "IQ3_XS - 3.3 bpw", std::nullopt},
    {23, "IQ3_XXS - 3.0625 bpw", DType::kIQ3_XXS},
    {24, "IQ1_S - 1.5625 bpw", DType::kIQ1_S},
    {25, "IQ4_NL - 4.5 bpw", DType::kIQ4_NL},
    {26, "IQ3_S - 3.4375 bpw", DType::kIQ3_S},
    {27, "IQ3_S mix - 3.66 bpw", std::nullopt},
    {28, "IQ2_S - 2.5 bpw", DType::kIQ2_S},
    {29, "IQ2_M - 2.7 bpw", std::nullopt},
    {30, "IQ4_XS - 4.25 bpw", DType::kIQ4_XS},
    {31, "IQ1_M - 1.75 bpw", DType::kIQ1_M},
    {32, "BF16", DType::kBF16},
    {36, "TQ1_0 - 1.69 bpw ternary", std::nullopt},
    {37, "TQ2_0 - 2.06 bpw ternary", std::nullopt},
    {38, "MXFP4 MoE", std::nullopt},
};

}  // namespace

std::uint32_t file_type_of(DType dtype) {
  const auto* it = std::find_if(std::begin(kFileTypes), std::end(kFileTypes),
                                [&](const FileType& type) { return type.dtype == dtype; });
  return it == std::end(kFileTypes) ? kGuessed : it->number;
}

std::string file_type_text(std::int64_t file_type) {
  const std::string guessed = file_type & kGuessed ? "(guessed) " : "";
  const std::int64_t number = file_type & ~std::int64_t{kGuessed};
  const auto* it = std::find_if(std::begin(kFileTypes), std::end(kFileTypes),
                                [&](const FileType& type) { return type.number == number; });
  return guessed + (it == std::end(kFileTypes) ? std::string("unknown, may not work") : std::string(it->text));
}

}  // namespace dodeca::runtime
