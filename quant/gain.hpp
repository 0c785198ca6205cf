// Least squares makes coarse weights too small: what rounding loses is at right angles to what it keeps, so that
// g = <w, q> / <w, w> is below 1 (0.82 for IQ1_S, 0.94 for Q2_K, 0.98 for Q3_K) and every output of the matrix comes out
// smaller by it, layer upon layer. Larger scales cost squared error and save divergence of the model's predictions. The
// demo with importance, by power of 1/g (0, 1/2, 3/4, 1): IQ1_S 0.795, 0.658, 0.623, 0.604; IQ2_XS 0.317, 0.289, 0.280,
// 0.276; Q2_K 0.225, 0.212, 0.209, 0.208. Three quarters get nearly all of that at a lower squared error, and a lower
// perplexity of Q2_K, than the whole.
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
