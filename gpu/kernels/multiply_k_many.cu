// Products of many rows, of the types of blocks of 256 columns.
#include "gpu/kernels/multiply_many.cuh"
#include "gpu/kernels/weights_k.cuh"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_MULTIPLY_MANY(q2_k, WeightsQ2_K)
DODECA_MULTIPLY_MANY(q3_k, WeightsQ3_K)
DODECA_MULTIPLY_MANY(q4_k, WeightsQ4_K)
DODECA_MULTIPLY_MANY(q5_k, WeightsQ5_K)
DODECA_MULTIPLY_MANY(q6_k, WeightsQ6_K)
DODECA_MULTIPLY_MANY(iq4_xs, WeightsIQ4_XS)
DODECA_MULTIPLY_MANY(iq4_ks, WeightsIQ4_KS)

}  // namespace dodeca::gpu::DODECA_KERNELS
