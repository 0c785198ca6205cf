#include "gpu/kernels/argmax_rows.hpp"
#include "gpu/kernels/last_block.cuh"

namespace dodeca::gpu::DODECA_KERNELS {

// NaN before numbers, larger before smaller, lower indices before higher ones.
__device__ inline bool is_better(const Best& a, const Best& b) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan;
  if (a.value > b.value) return true;
  return (a_nan || a.value == b.value) && a.index < b.index;
}

__device__ inline Best best_of_block(Best own) {
  DODECA_SHARED(Best, warps, [kArgmaxThreads / 32]);
  const auto better_of_lanes = [](Best mine) {
    for (int step = 16; step > 0; step /= 2) {
      const Best other{__shfl_xor_sync(0xffffffffu, mine.value, step), __shfl_xor_sync(0xffffffffu, mine.index, step)};
      if (is_better(other, mine)) mine = other;
    }
    return mine;
  };
  own = better_of_lanes(own);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = own;
  __syncthreads();
  return better_of_lanes(warps[threadIdx.x % (kArgmaxThreads / 32)]);
}

DODECA_KERNEL(argmax_rows, ArgmaxRowsArgs, kArgmaxThreads) {
  const std::int64_t row = blockIdx.y;
  const float* const in = args.in + row * args.in_stride;
  const Best none{__uint_as_float(0xff800000u), 0x7fffffff};
  const std::int32_t begin = static_cast<std::int32_t>(blockIdx.x) * kArgmaxValues;
  Best best = none;
#pragma unroll 8
  for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < kArgmaxValues; i += kArgmaxThreads) {
    if (begin + i >= args.n) continue;
    const Best found{in[begin + i] + 0.0f, begin + i};
    if (is_better(found, best)) best = found;
  }
  best = best_of_block(best);
  if (gridDim.x > 1) {
    Best* const parts = args.partials + row * gridDim.x;
    if (threadIdx.x == 0) parts[blockIdx.x] = best;
    if (!is_last_block(args.counters + row, gridDim.x)) return;
    const volatile Best* const all = parts;
    best = none;
    for (std::uint32_t i = threadIdx.x; i < gridDim.x; i += kArgmaxThreads) {
      const Best found{all[i].value, all[i].index};
      if (is_better(found, best)) best = found;
    }
    best = best_of_block(best);
  }
  if (threadIdx.x == 0) args.out[row] = best;
}

}  // namespace dodeca::gpu::DODECA_KERNELS
