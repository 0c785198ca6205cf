// Rows in blocks of 256 columns, one block to 16 lanes (a half warp): how lanes hold a block, and how its int8 copies are
// made. The same bits as on processors (cpu/kernels/quantize_act/group.hpp defines them; the sum of squares is that of
// cpu/kernels/norm).
//
// A block is first spread: lane j has columns j, 16 + j, 32 + j, ... so that loads are coalesced and the squares are
// summed in the order of processors. Through shared memory it becomes contiguous: lane g has columns 16g to 16g + 15.
#pragma once

#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/row_copies.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

inline constexpr std::uint32_t kAllLanes = 0xffffffffu;
// Floats of a block in shared memory: 4 more after every 16, so that 8 lanes read 16 bytes each from 32 banks.
inline constexpr int kSpreadFloats = 16 * 20;

__device__ inline std::int32_t magnitude_bits(float value) {
  return static_cast<std::int32_t>(__float_as_uint(value) & 0x7fffffffu);
}

struct GroupScale {
  float scale, factor;  // factor 0: all zeros
};
__device__ inline GroupScale group_scale(std::int32_t amax_bits) {
  constexpr std::int32_t kTiny = 27 << 23, kInfinity = 0x7f800000;  // 2^-100
  if (amax_bits < kTiny) return {0.0f, 0.0f};
  if (amax_bits >= kInfinity) return {__uint_as_float(0x7fc00000u), 0.0f};
  const float amax = __uint_as_float(static_cast<std::uint32_t>(amax_bits));
  return {amax / 127.0f, 127.0f / amax};
}

// Sixteen contiguous columns as whole numbers, and their sum.
struct Sixteen {
  std::uint32_t word[4];
  std::int32_t sum;
};
__device__ inline Sixteen round_sixteen(const float (&x)[16], float factor) {
  Sixteen out;
  out.sum = 0;
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    std::uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int q = factor == 0.0f ? 0 : static_cast<int>(rintf(x[4 * w + i] * factor));  // infinity * 0 would be NaN
      word |= (static_cast<std::uint32_t>(q) & 255u) << (8 * i);
      out.sum += q;
    }
    out.word[w] = word;
  }
  return out;
}

__device__ inline std::int32_t largest_of_lanes(std::int32_t value, int lanes) {
  for (int step = 1; step < lanes; step *= 2) {
    const std::int32_t other = __shfl_xor_sync(kAllLanes, value, step);
    value = other > value ? other : value;
  }
  return value;
}

// The block's copies from the lane's 16 contiguous columns. `columns`: of the block, 256 but for a row's last one: only
// whole blocks of a format are written. All lanes of a warp call this together.
__device__ inline void write_copies(const float (&x)[16], int columns, const RowCopies& copies, std::int64_t row,
                                    int block) {
  const int lane = static_cast<int>(threadIdx.x) % 16;
  std::int32_t amax = 0;
#pragma unroll
  for (int i = 0; i < 16; ++i) amax = magnitude_bits(x[i]) > amax ? magnitude_bits(x[i]) : amax;
  const std::int32_t pair_amax = largest_of_lanes(amax, 2);
  if (copies.q8_32 != nullptr) {
    const GroupScale group = group_scale(pair_amax);
    const Sixteen q = round_sixteen(x, group.factor);
    const std::int32_t sum = q.sum + __shfl_xor_sync(kAllLanes, q.sum, 1);
    if (32 * (lane / 2 + 1) <= columns) {
      std::byte* const at = copies.q8_32 + row * copies.q8_32_stride +
                            (8 * block + lane / 2) * static_cast<std::int64_t>(sizeof(quant::Q8Block32));
      auto* const codes = reinterpret_cast<uint2*>(at) + 2 * (lane % 2);
      codes[0] = make_uint2(q.word[0], q.word[1]);
      codes[1] = make_uint2(q.word[2], q.word[3]);
      if (lane % 2 == 0)
        reinterpret_cast<uint2*>(at)[4] = make_uint2(__float_as_uint(group.scale), static_cast<std::uint32_t>(sum));
    }
  }
  if (copies.q8_256 != nullptr) {
    const GroupScale group = group_scale(largest_of_lanes(pair_amax, 16));
    const Sixteen q = round_sixteen(x, group.factor);
    const std::int32_t pair_sum = q.sum + __shfl_xor_sync(kAllLanes, q.sum, 1);
    std::int32_t sum = pair_sum;
    for (int step = 2; step < 16; step *= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
    if (columns == 256) {
      std::byte* const at =
          copies.q8_256 + row * copies.q8_256_stride + block * static_cast<std::int64_t>(sizeof(quant::Q8Block256));
      reinterpret_cast<uint4*>(at)[lane] = make_uint4(q.word[0], q.word[1], q.word[2], q.word[3]);
      reinterpret_cast<std::int16_t*>(at + 256)[lane] = static_cast<std::int16_t>(q.sum);
      if (lane % 2 == 0) reinterpret_cast<std::int16_t*>(at + 288)[lane / 2] = static_cast<std::int16_t>(pair_sum);
      if (lane == 0)
        *reinterpret_cast<uint4*>(at + 304) =
            make_uint4(__float_as_uint(group.scale), static_cast<std::uint32_t>(sum), 0, 0);
    }
  }
}

// Calls value(load(column), column) for all columns of a row of n, spread, and makes the copies of what it returns; load
// only reads, so that sixteen loads are on their way together. begin(block) and end(block, lane) stand around each block,
// called by all lanes of a warp together, also where a half warp has no block (then block >= the row's blocks). shared:
// kSpreadFloats per half warp.
template <class Load, class Begin, class Value, class End>
__device__ inline void for_row(std::int32_t n, const RowCopies& copies, float* shared, Load load, Begin begin,
                               Value value, End end) {
  const std::int64_t row = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x) % 16, half_warp = static_cast<int>(threadIdx.x) / 16;
  const int half_warps = static_cast<int>(blockDim.x) / 16, n_blocks = (n + 255) / 256;
  float* const spread = shared + half_warp * kSpreadFloats;
  const bool copied = copies.q8_32 != nullptr || copies.q8_256 != nullptr;
  for (int first = 0; first < n_blocks; first += half_warps) {
    const int block = first + half_warp, left = n - 256 * block;
    const int columns = left < 0 ? 0 : left < 256 ? left : 256;
    decltype(load(0)) loaded[16];
#pragma unroll
    for (int g = 0; g < 16; ++g) {
      if (16 * g + lane < columns) loaded[g] = load(256 * block + 16 * g + lane);
    }
    begin(block);
#pragma unroll
    for (int g = 0; g < 16; ++g) {
      const int k = 16 * g + lane;
      const float x = k < columns ? value(loaded[g], 256 * block + k) : 0.0f;
      if (copied) spread[20 * g + lane] = x;
    }
    end(block, lane);
    if (!copied) continue;
    __syncwarp();
    float x[16];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float4 four = reinterpret_cast<const float4*>(spread + 20 * lane)[i];
      x[4 * i] = four.x, x[4 * i + 1] = four.y, x[4 * i + 2] = four.z, x[4 * i + 3] = four.w;
    }
    write_copies(x, columns, copies, row, block);
    __syncwarp();
  }
}

}  // namespace dodeca::gpu::DODECA_KERNELS
