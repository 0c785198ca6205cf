#include "gpu/kernels/add_weighted_rows.hpp"
#include "gpu/kernels/dialect.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_KERNEL(add_weighted_rows, AddWeightedRowsArgs, kAddWeightedRowsThreads) {
  const std::int64_t row = blockIdx.y, k = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k >= args.n) return;
  float* const out = args.out + row * args.out_stride + k;
  const std::int64_t first = row * args.n_terms;
  float sum = args.accumulate ? *out : 0.0f;
#pragma unroll 4
  for (std::int32_t t = 0; t < args.n_terms; ++t) {
    std::int64_t index = first + t;
    if (args.indices != nullptr) {
      const std::int32_t given = args.indices[first + t];
      if (given < args.first_index || given >= args.end_index) continue;
      index = given - args.first_index;
    }
    const float weight = args.weights == nullptr ? 1.0f : args.weights[first + t];
    sum += weight * args.in[index * args.in_stride + k];
  }
  *out = sum;
}

}  // namespace dodeca::gpu::DODECA_KERNELS
