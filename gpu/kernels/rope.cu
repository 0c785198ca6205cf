#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/rope.hpp"
#include "gpu/kernels/rotate.cuh"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_KERNEL(rope_angles, RopeAnglesArgs, kRopeThreads) {
  const auto pair = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  const std::int32_t position = args.positions[blockIdx.y];
  if (2 * pair >= args.rope || position < 0) return;
  const double angle = static_cast<double>(position) * args.inv_freq[pair];
  float* const out = args.cos_sin + static_cast<std::int64_t>(blockIdx.y) * args.rope + 2 * pair;
  out[0] = static_cast<float>(cos(angle)) * args.magnitude;
  out[1] = static_cast<float>(sin(angle)) * args.magnitude;
}

DODECA_KERNEL(rope_rows, RopeRowsArgs, kRopeThreads) {
  const auto thread = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  const std::int32_t per_head = args.rope / 4, head = thread / per_head, i = thread % per_head;
  if (head >= args.n_heads) return;
  const std::int64_t row = blockIdx.y;
  const PairOfPairs pairs =
      rotated(load_pairs(args.in + row * args.in_row_stride + head * args.in_head_stride, i, args.rope, args.pairs),
              args.cos_sin + row * args.rope, i);
  float* const out = args.out + row * args.out_row_stride + head * args.out_head_stride;
  if (args.pairs == RopePairs::kNeighbours) {
    *reinterpret_cast<float4*>(out + 4 * i) = make_float4(pairs.first.x, pairs.first.y, pairs.second.x, pairs.second.y);
    return;
  }
  *reinterpret_cast<float2*>(out + 2 * i) = make_float2(pairs.first.x, pairs.second.x);
  *reinterpret_cast<float2*>(out + args.rope / 2 + 2 * i) = make_float2(pairs.first.y, pairs.second.y);
}

}  // namespace dodeca::gpu::DODECA_KERNELS
