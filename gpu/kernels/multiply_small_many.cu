// Products of many rows, of the types of blocks of 32 columns.
#include "gpu/kernels/multiply_many.cuh"
#include "gpu/kernels/weights_small.cuh"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_MULTIPLY_MANY(q4_0, WeightsQ4_0)
DODECA_MULTIPLY_MANY(q4_1, WeightsQ4_1)
DODECA_MULTIPLY_MANY(q5_0, WeightsQ5_0)
DODECA_MULTIPLY_MANY(q5_1, WeightsQ5_1)
DODECA_MULTIPLY_MANY(q8_0, WeightsQ8_0)
DODECA_MULTIPLY_MANY(iq4_nl, WeightsIQ4_NL)
DODECA_MULTIPLY_MANY(mxfp4, WeightsMXFP4)

}  // namespace dodeca::gpu::DODECA_KERNELS
