// Products of the types of blocks of 32 columns.
#include "gpu/kernels/multiply_blocks.cuh"
#include "gpu/kernels/weights_small.cuh"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_MULTIPLY_BLOCKS(q4_0, WeightsQ4_0)
DODECA_MULTIPLY_BLOCKS(q4_1, WeightsQ4_1)
DODECA_MULTIPLY_BLOCKS(q5_0, WeightsQ5_0)
DODECA_MULTIPLY_BLOCKS(q5_1, WeightsQ5_1)
DODECA_MULTIPLY_BLOCKS(q8_0, WeightsQ8_0)
DODECA_MULTIPLY_BLOCKS(iq4_nl, WeightsIQ4_NL)
DODECA_MULTIPLY_BLOCKS(mxfp4, WeightsMXFP4)

}  // namespace dodeca::gpu::DODECA_KERNELS
