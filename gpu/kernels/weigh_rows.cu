#include "gpu/kernels/row_blocks.cuh"
#include "gpu/kernels/weigh_rows.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_KERNEL(weigh_rows, WeighRowsArgs, kRowThreads) {
  float* const shared = dynamic_shared<float>();
  float* const squares = shared + blockDim.x / 16 * kSpreadFloats;
  const std::int64_t row = blockIdx.x;
  const std::int32_t n_blocks = (args.n + 255) / 256;
  float* const x = args.residual + row * args.residual_stride;
  const float* const add = args.addition == nullptr ? nullptr : args.addition + row * args.addition_stride;
  float* const weighed = args.weighed == nullptr ? nullptr : args.weighed + row * args.weighed_stride;
  struct Inputs {
    float x, add, weight;
  };
  float sum = 0.0f;
  for_row(
      args.n, args.copies, shared,
      [&](std::int32_t k) {
        return Inputs{x[k], add == nullptr ? 0.0f : add[k], __ldg(args.weight + k)};
      },
      [&](int) { sum = 0.0f; },
      [&](const Inputs& in, std::int32_t k) {
        const float value = add == nullptr ? in.x : in.x + in.add;
        if (add != nullptr) x[k] = value;
        sum = fmaf(value, value, sum);
        const float out = value * in.weight;
        if (weighed != nullptr) weighed[k] = out;
        return out;
      },
      [&](int block, int lane) {
        for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
        if (lane == 0 && block < n_blocks) squares[block] = sum;
      });
  __syncthreads();
  if (threadIdx.x != 0) return;
  float all = 0.0f;
  for (std::int32_t block = 0; block < n_blocks; ++block) all += squares[block];
  args.factors[row] = 1.0f / sqrtf(all / static_cast<float>(args.n) + args.eps);
}

}  // namespace dodeca::gpu::DODECA_KERNELS
