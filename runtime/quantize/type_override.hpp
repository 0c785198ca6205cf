// A rule REGEX=TYPE, and which types a new file may hold.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.hpp"
#include "runtime/text/regex.hpp"

namespace dodeca::runtime::quantize {

// Types that a GGUF can hold and that we can encode.
bool is_writable(quant::DType dtype);
std::vector<quant::DType> writable_types();

struct TypeOverride {
  Regex regex;  // searched in the weight's name
  quant::DType dtype;
};
// REGEX=TYPE, as llama-quantize's --tensor-type. Throws Error{kBadRequest}.
TypeOverride parse_override(std::string_view text);
// The same from its two halves.
TypeOverride make_override(std::string_view pattern, std::string_view type);

}  // namespace dodeca::runtime::quantize
