// How a checkpoint's config.json says that its weights are stored.
#pragma once

#include "runtime/model/hf_fields.hpp"

namespace dodeca::runtime {

// Throws Error{kUnsupported} unless quantization_config is absent, FP8 in blocks of 128x128 or with a scale for each
// row, MXFP4, or symmetric 4-bit integers in groups of a multiple of 32 ("compressed-tensors", pack-quantized). The
// tensors themselves are checked when they are looked for (hf_checkpoint.hpp).
void check_quantization(const HfFields& config);

}  // namespace dodeca::runtime
