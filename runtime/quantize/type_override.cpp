#include "runtime/quantize/type_override.hpp"

#include <fmt/core.h>

#include "runtime/base/error.hpp"

namespace dodeca::runtime::quantize {

bool is_writable(quant::DType dtype) {
  // Q8_K and Q8_1 are formats of activations: no reader expects them in a file.
  return dtype < quant::DType::kInternal && dtype != quant::DType::kQ8_K && quant::type_info(dtype).encodable;
}

std::vector<quant::DType> writable_types() {
  std::vector<quant::DType> types;
  for (const quant::TypeInfo& type : quant::all_types()) {
    if (is_writable(type.dtype)) types.push_back(type.dtype);
  }
  return types;
}

TypeOverride make_override(std::string_view pattern, std::string_view type_name) {
  const auto bad = [&](std::string_view why) {
    return Error(ErrorKind::kBadRequest, fmt::format("'{}={}' is no REGEX=TYPE: {}", pattern, type_name, why));
  };
  if (pattern.empty()) throw bad("there is nothing on both sides of '='");
  const quant::TypeInfo* type = quant::find_type(type_name);
  if (type == nullptr) throw bad(fmt::format("no type is called '{}'", type_name));
  if (!is_writable(type->dtype)) throw bad(fmt::format("{} cannot be written", type->name));
  try {
    return {Regex(pattern), type->dtype};
  } catch (const Error& error) {
    throw bad(error.sentence());
  }
}

TypeOverride parse_override(std::string_view text) {
  const std::size_t split = text.rfind('=');
  if (split == std::string_view::npos)
    throw Error(ErrorKind::kBadRequest, fmt::format("'{}' is no REGEX=TYPE: there is no '='", text));
  return make_override(text.substr(0, split), text.substr(split + 1));
}

}  // namespace dodeca::runtime::quantize
