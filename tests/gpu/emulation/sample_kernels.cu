#include "gpu/kernels/dialect.hpp"
#include "tests/gpu/emulation/sample_kernels.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

__device__ inline float warp_sum(float value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  return value;
}

DODECA_KERNEL(block_sum, BlockSumArgs, 1024) {
  DODECA_SHARED(float, sums, [32]);
  const float sum = warp_sum(args.in[blockIdx.x * blockDim.x + threadIdx.x]);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  const float total = warp_sum(threadIdx.x < blockDim.x / 32 ? sums[threadIdx.x] : 0.0f);
  if (threadIdx.x == 0) args.out[blockIdx.x] = total;
}

DODECA_KERNEL(warp_functions, WarpFunctionsArgs, 32) {
  constexpr std::uint32_t kAll = 0xffffffffu;
  const std::uint32_t lane = threadIdx.x;
  const std::uint32_t in = args.in[lane];
  std::uint32_t* out = args.out + lane;
  *out = __shfl_sync(kAll, in, 5), out += 32;
  *out = __shfl_sync(kAll, in, 3, 8), out += 32;
  *out = __shfl_up_sync(kAll, in, 3), out += 32;
  *out = __shfl_down_sync(kAll, in, 3, 16), out += 32;
  *out = __shfl_xor_sync(kAll, in, 9), out += 32;
  *out = __ballot_sync(kAll, (in & 1) != 0), out += 32;
  *out = static_cast<std::uint32_t>(__any_sync(kAll, in == args.in[31])), out += 32;
  *out = static_cast<std::uint32_t>(__all_sync(kAll, in != args.in[31])), out += 32;
  *out = __match_any_sync(kAll, in & 3), out += 32;
  *out = __reduce_add_sync(kAll, in), out += 32;
  *out = __reduce_min_sync(kAll, in), out += 32;
  *out = __reduce_xor_sync(kAll, in), out += 32;
  // Two halves of the warp apart.
  if (lane < 16) {
    *out = __reduce_max_sync(0x0000ffffu, in);
  } else {
    *out = __reduce_max_sync(0xffff0000u, in);
  }
  out += 32;
  *out = static_cast<std::uint32_t>(__syncthreads_count((in & 2) != 0));
}

}  // namespace dodeca::gpu::DODECA_KERNELS
