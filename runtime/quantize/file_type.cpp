#include "runtime/quantize/file_type.hpp"

#include <string_view>

namespace dodeca::runtime::quantize {
namespace {

using quant::DType;

constexpr std::uint32_t kGuessed = 1024;  // a flag: told from the tensors

// Numbers that stand for no single type; those that do are in quant/types.inc.
struct Mixture {
  std::uint32_t number;
  std::string_view text;
};
constexpr Mixture kMixtures[] = {
    {12, "Q3_K - Medium"}, {13, "Q3_K - Large"},     {15, "Q4_K - Medium"},        {17, "Q5_K - Medium"},
    {21, "Q2_K - Small"},  {22, "IQ3_XS - 3.3 bpw"}, {27, "IQ3_S mix - 3.66 bpw"}, {29, "IQ2_M - 2.7 bpw"},
};

}  // namespace

std::uint32_t file_type_of(DType dtype) {
  const std::int32_t number = quant::type_info(dtype).file_type;
  return number < 0 ? kGuessed : static_cast<std::uint32_t>(number);
}

std::string file_type_text(std::int64_t file_type) {
  const std::string guessed = file_type & kGuessed ? "(guessed) " : "";
  const std::int64_t number = file_type & ~std::int64_t{kGuessed};
  for (const Mixture& mixture : kMixtures) {
    if (mixture.number == number) return guessed + std::string(mixture.text);
  }
  for (const quant::TypeInfo& type : quant::all_types()) {
    if (type.file_type >= 0 && type.file_type == number) return guessed + std::string(type.file_type_text);
  }
  return guessed + "unknown, may not work";
}

}  // namespace dodeca::runtime::quantize
