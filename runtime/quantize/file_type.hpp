// llama.cpp's numbers for what a file's matrices are made of: the metadata value general.file_type.
#pragma once

#include <cstdint>
#include <string>

#include "quant/dtype.hpp"

namespace dodeca::runtime::quantize {

// Of a file whose matrices are all of this type.
std::uint32_t file_type_of(quant::DType dtype);
// In the words of llama.cpp's model descriptions.
std::string file_type_text(std::int64_t file_type);

}  // namespace dodeca::runtime::quantize
