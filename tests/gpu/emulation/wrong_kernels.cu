#include "gpu/kernels/tensor.hpp"
#include "tests/gpu/emulation/wrong_kernels.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

constexpr std::uint32_t kAll = 0xffffffffu;

DODECA_KERNEL(barrier_of_half, WrongArgs, 64) {
  if (threadIdx.x < 32) __syncthreads();
  args.out[threadIdx.x] = 1.0f;
}

DODECA_KERNEL(barrier_after_return, WrongArgs, 64) {
  if (threadIdx.x == 40) return;
  __syncthreads();
  args.out[threadIdx.x] = 1.0f;
}

DODECA_KERNEL(two_barriers, WrongArgs, 64) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  args.out[threadIdx.x] = 1.0f;
}

DODECA_KERNEL(shuffle_of_half, WrongArgs, 64) {
  float value = args.in[threadIdx.x];
  if (threadIdx.x % 32 < 16) value += __shfl_xor_sync(kAll, value, 1);
  args.out[threadIdx.x] = value;
}

DODECA_KERNEL(shuffle_with_wrong_mask, WrongArgs, 64) {
  args.out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, args.in[threadIdx.x], 1);
}

DODECA_KERNEL(shuffle_from_outside, WrongArgs, 64) {
  float value = args.in[threadIdx.x];
  if (threadIdx.x % 32 < 16) value += __shfl_sync(0x0000ffffu, value, 16);
  args.out[threadIdx.x] = value;
}

DODECA_KERNEL(writes_behind, WrongArgs, 64) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < args.n) args.out[i + 1] = args.in[0];
}

DODECA_KERNEL(reads_behind, WrongArgs, 64) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < args.n) args.out[i] = args.in[i + 1];
}

DODECA_KERNEL(writes_far_away, WrongArgs, 64) {
  if (threadIdx.x == 0) args.out[1 << 28] = 1.0f;
}

DODECA_KERNEL(reads_unwritten_shared, WrongArgs, 64) {
  DODECA_SHARED(float, values, [64]);
  if (threadIdx.x < 63) values[threadIdx.x] = args.in[threadIdx.x];
  __syncthreads();
  args.out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

DODECA_KERNEL(shared_overflow, WrongArgs, 64) {
  DODECA_SHARED(float, values, [63]);
  values[threadIdx.x] = args.in[threadIdx.x];
  __syncthreads();
  args.out[threadIdx.x] = values[0];
}

DODECA_KERNEL(race, WrongArgs, 64) {
  DODECA_SHARED(float, values, [64]);
  values[threadIdx.x] = 0.0f;
  __syncthreads();
  values[threadIdx.x] = args.in[threadIdx.x];
  args.out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

DODECA_KERNEL(race_avoided, WrongArgs, 64) {
  DODECA_SHARED(float, values, [64]);
  values[threadIdx.x] = args.in[threadIdx.x];
  __syncthreads();
  args.out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

DODECA_KERNEL(warp_race, WrongArgs, 64) {
  DODECA_SHARED(float, values, [64]);
  values[threadIdx.x] = args.in[threadIdx.x];
  __shfl_xor_sync(kAll, 0, 1);
  args.out[threadIdx.x] = values[threadIdx.x ^ 1];
}

DODECA_KERNEL(warp_race_avoided, WrongArgs, 64) {
  DODECA_SHARED(float, values, [64]);
  for (int round = 0; round < 3; ++round) {
    values[threadIdx.x] = args.in[threadIdx.x] + static_cast<float>(round);
    __syncwarp();
    args.out[threadIdx.x] = values[threadIdx.x ^ 1];
    __syncwarp();
  }
}

DODECA_KERNEL(reuse_race, WrongArgs, 64) {
  DODECA_SHARED(float, values, [64]);
  for (int round = 0; round < 2; ++round) {
    values[threadIdx.x] = args.in[threadIdx.x];
    __syncthreads();
    args.out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
  }
}

DODECA_KERNEL(atomics, WrongArgs, 64) {
  DODECA_SHARED(int, sum, );
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, 1);
  atomicAdd(&sum, 1);
  __syncthreads();
  args.out[threadIdx.x] = static_cast<float>(sum);
}

DODECA_KERNEL(atomic_race, WrongArgs, 64) {
  DODECA_SHARED(int, sum, );
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, 1);
  args.out[threadIdx.x] = static_cast<float>(sum);
}

DODECA_KERNEL(copy_not_awaited, WrongArgs, 64) {
  DODECA_SHARED(float, values, [64]);
  cp_async<4>(&values[threadIdx.x], &args.in[threadIdx.x]);
  cp_async_commit();
  args.out[threadIdx.x] = values[threadIdx.x];
}

// The second group need not be there yet when the first is used.
DODECA_KERNEL(copy_awaited, WrongArgs, 64) {
  DODECA_SHARED(float, values, [2][64]);
  cp_async<4>(&values[0][threadIdx.x], &args.in[threadIdx.x]);
  cp_async_commit();
  cp_async<4>(&values[1][threadIdx.x], &args.in[threadIdx.x], threadIdx.x % 2 == 0);
  cp_async_commit();
  cp_async_wait<1>();
  __syncthreads();
  const float first = values[0][(threadIdx.x + 1) % 64];
  cp_async_wait<0>();
  __syncthreads();
  args.out[threadIdx.x] = first - values[1][threadIdx.x];
}

DODECA_KERNEL(ldmatrix_unaligned, WrongArgs, 64) {
  DODECA_SHARED(std::uint16_t, values, [2048]);
  for (int i = 0; i < 32; ++i) values[64 * i + static_cast<int>(threadIdx.x)] = 0;
  __syncthreads();
  std::uint32_t r[2];
  ldmatrix_x2(r, &values[threadIdx.x % 16 * 9]);
  args.out[threadIdx.x] = static_cast<float>(r[0]);
}

DODECA_KERNEL(too_much_shared, WrongArgs, 64) {
  DODECA_SHARED(float, values, [26000]);
  values[threadIdx.x] = 1.0f;
  args.out[threadIdx.x] = values[threadIdx.x];
}

}  // namespace dodeca::gpu::DODECA_KERNELS
