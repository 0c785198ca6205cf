#include "gpu/kernels/tensor.hpp"
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

// The formulas are the PTX manual's: row and column of the i-th element that a lane holds.
template <class T, class Sum, class Mma>
__device__ inline void product(const ProductArgs& args, Mma mma) {
  constexpr int kPer = 4 / sizeof(T), kDepth = 8 * kPer;
  const auto* const a = static_cast<const T*>(args.a);
  const auto* const b = static_cast<const T*>(args.b);
  auto* const c = static_cast<Sum*>(args.c);
  const int group = static_cast<int>(threadIdx.x) >> 2, in_group = static_cast<int>(threadIdx.x) % 4;
  std::uint32_t a_bits[4] = {}, b_bits[2] = {};
  for (int i = 0; i < 4 * kPer; ++i) {
    const int row = i < kPer || (i >= 2 * kPer && i < 3 * kPer) ? group : group + 8;
    const int column = in_group * kPer + (i & (kPer - 1)) + (i >= 2 * kPer ? kDepth / 2 : 0);
    a_bits[i / kPer] |= (static_cast<std::uint32_t>(a[row * kDepth + column]) & ((1u << (8 * sizeof(T))) - 1))
                        << (i % kPer * 8 * static_cast<int>(sizeof(T)));
  }
  for (int i = 0; i < 2 * kPer; ++i) {
    const int row = in_group * kPer + (i & (kPer - 1)) + (i >= kPer ? kDepth / 2 : 0);
    b_bits[i / kPer] |= (static_cast<std::uint32_t>(b[row * 8 + group]) & ((1u << (8 * sizeof(T))) - 1))
                        << (i % kPer * 8 * static_cast<int>(sizeof(T)));
  }
  Sum sums[4] = {};
  mma(sums, a_bits, b_bits);
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? group : group + 8;
    c[row * 8 + in_group * 2 + (i & 1)] = sums[i];
  }
}

DODECA_KERNEL(product_bf16, ProductArgs, 32) {
  product<std::uint16_t, float>(args, [](auto& c, auto& a, auto& b) { mma_bf16(c, a, b); });
}
DODECA_KERNEL(product_f16, ProductArgs, 32) {
  product<std::uint16_t, float>(args, [](auto& c, auto& a, auto& b) { mma_f16(c, a, b); });
}
DODECA_KERNEL(product_s8, ProductArgs, 32) {
  product<std::int8_t, int>(args, [](auto& c, auto& a, auto& b) { mma_s8(c, a, b); });
}

// Rows of 16-bit values in shared memory; the way in which matrices are meant to be loaded. A: four matrices, rows 0 and 8
// of the left half, then of the right.
DODECA_KERNEL(product_by_ldmatrix, ProductArgs, 32) {
  DODECA_SHARED(uint4, a, [16][2]);
  DODECA_SHARED(uint4, b, [16]);
  const std::uint32_t lane = threadIdx.x;
  cp_async<16>(&a[lane / 2][lane % 2], static_cast<const uint4*>(args.a) + lane);
  if (lane < 16) cp_async<16>(&b[lane], static_cast<const uint4*>(args.b) + lane);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  std::uint32_t a_bits[4], b_bits[2];
  ldmatrix_x4(a_bits, &a[lane % 16][lane / 16]);
  ldmatrix_x2_trans(b_bits, &b[lane % 16]);
  float sums[4] = {};
  mma_bf16(sums, a_bits, b_bits);
  auto* const c = static_cast<float*>(args.c);
  for (std::uint32_t i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

DODECA_KERNEL(product_s8_by_ldmatrix, ProductArgs, 32) {
  DODECA_SHARED(uint4, a, [16][2]);
  DODECA_SHARED(uint4, b, [8][2]);
  const std::uint32_t lane = threadIdx.x;
  a[lane / 2][lane % 2] = static_cast<const uint4*>(args.a)[lane];
  if (lane < 16) b[lane / 2][lane % 2] = static_cast<const uint4*>(args.b)[lane];
  __syncwarp();
  std::uint32_t a_bits[4], b_bits[2];
  ldmatrix_x4(a_bits, &a[lane % 16][lane / 16]);
  ldmatrix_x2(b_bits, &b[lane % 8][lane / 8 % 2]);
  int sums[4] = {};
  mma_s8(sums, a_bits, b_bits);
  auto* const c = static_cast<int*>(args.c);
  for (std::uint32_t i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

}  // namespace dodeca::gpu::DODECA_KERNELS
