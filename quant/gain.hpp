// Least squares makes coarse weights too small: what rounding loses is at right angles to what it keeps, so that
// g = <w, q> / <w, w> is below 1 (0.82 for IQ1_S, 0.94 for Q2_K, 0.98 for Q3_K) and every output of the matrix comes out
// smaller by it, layer upon layer. A larger scale costs squared error but less divergence of the model's predictions:
// scales times g^-3/4 come within 3 % of the least divergence (that of 1/g) and, measured with importance on the demo, leave the
// squared error below llama.cpp's encoders'.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"

namespace dodeca::quant {

// Types of fewer than four bits; finer ones lose too little to matter.
bool loses_gain(DType dtype);

// dst: what encode_row made of src with this importance; its block scales are multiplied by g^-3/4, g weighted by
// importance over the row. decoded: room for n floats. The same bits everywhere. Does nothing for other types.
void restore_gain(DType dtype, const float* src, std::byte* dst, std::int64_t n, const float* importance,
                  float* decoded);

}  // namespace dodeca::quant
