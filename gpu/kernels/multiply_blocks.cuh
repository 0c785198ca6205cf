// Products of types of blocks: the loop, once for all types (weights.cuh).
#pragma once

#include "gpu/kernels/multiply_limits.hpp"
#include "gpu/kernels/multiply_sums.cuh"
#include "gpu/kernels/weights.cuh"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

// 32 columns of an activation row.
struct Act {
  std::uint32_t q[8];
  float scale;
  std::int32_t sum[2];  // of 16 columns each; where only the whole is known, it is the first
};

// kBlock: 256 or 32 columns.
template <int kBlock, int kSub>
__device__ inline Act act_at(const std::byte* row, std::int32_t chunk) {
  Act x;
  if constexpr (kBlock == 256) {
    static_assert(sizeof(quant::Q8Block256) == 320);
    const std::byte* const block = row + (chunk / 8) * 320;
    const int sub = chunk % 8;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint4 v = __ldg(reinterpret_cast<const uint4*>(block + 32 * sub + 16 * i));
      x.q[4 * i] = v.x, x.q[4 * i + 1] = v.y, x.q[4 * i + 2] = v.z, x.q[4 * i + 3] = v.w;
    }
    x.scale = __ldg(reinterpret_cast<const float*>(block + 304));
    if constexpr (kSub == 16) {
      const std::uint32_t pair = __ldg(reinterpret_cast<const std::uint32_t*>(block + 256) + sub);
      x.sum[0] = static_cast<std::int16_t>(pair & 0xffffu);
      x.sum[1] = static_cast<std::int16_t>(pair >> 16);
    } else {
      x.sum[0] = __ldg(reinterpret_cast<const std::int16_t*>(block + 288) + sub);
    }
  } else {
    static_assert(sizeof(quant::Q8Block32) == 40);
    const auto* const words = reinterpret_cast<const uint2*>(row + static_cast<std::int64_t>(chunk) * 40);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint2 v = __ldg(words + i);
      x.q[2 * i] = v.x, x.q[2 * i + 1] = v.y;
    }
    const uint2 rest = __ldg(words + 4);
    x.scale = __uint_as_float(rest.x);
    x.sum[0] = static_cast<std::int32_t>(rest.y);
  }
  return x;
}

// A chunk of weights times one activation row, added to the sums of the lane's four rows.
template <class F>
__device__ inline void add_chunk(const typename F::Chunk& chunk, const std::uint32_t (&q)[4][8], const Act& x,
                                 float (&acc)[4]) {
  constexpr int kSubs = 32 / F::kSub, kUnits = F::kSub / 4;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    std::int32_t isum = 0, msum = 0;
#pragma unroll
    for (int s = 0; s < kSubs; ++s) {
      std::int32_t dot = F::shift(chunk, r) * x.sum[s];
#pragma unroll
      for (int u = kUnits * s; u < kUnits * (s + 1); ++u)
        dot = __dp4a(static_cast<int>(q[r][u]), static_cast<int>(x.q[u]), dot);
      isum += F::scale(chunk, r, s) * dot;
      if constexpr (F::kMinima) msum += F::min(chunk, r, s) * x.sum[s];
    }
    acc[r] = fmaf(F::factor(chunk, r) * x.scale, static_cast<float>(isum), acc[r]);
    if constexpr (F::kMinima) acc[r] = fmaf(-(F::offset(chunk, r) * x.scale), static_cast<float>(msum), acc[r]);
    if constexpr (F::kOffset) acc[r] = fmaf(F::offset(chunk, r), x.scale * static_cast<float>(x.sum[0]), acc[r]);
  }
}

// One tile times C rows. Warp w of the split's blocks takes chunks 8w to 8w + 7, and so on by all warps of all splits.
template <class F, int C>
__device__ inline void multiply_blocks(const MultiplyArgs& args) {
  using Tile = typename F::Tile;
  DODECA_SHARED(float, terms, [multiply_warps(C) * kTermFloats<C>]);
  const BlockRows<C> rows(args);
  if (rows.count <= 0) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, j = lane % 4, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32, all_warps = warps * args.n_splits;
  const int own = static_cast<int>(blockIdx.y) * warps + warp;
  const std::byte* const tile =
      args.weights + rows.slice * args.slice_bytes +
      static_cast<std::int64_t>(blockIdx.x) * static_cast<std::int64_t>(Tile::bytes(args.n_in));
  const std::byte* const acts = rows.acts(args);
  std::uint32_t x[C];
  float acc[C][4];
#pragma unroll
  for (int c = 0; c < C; ++c) {
    x[c] = rows.act_offset(args, c);
#pragma unroll
    for (int r = 0; r < 4; ++r) acc[c][r] = 0.0f;
  }
  const std::int32_t n_chunks = args.n_in / 32;
#pragma unroll(C == 1 ? 2 : 1)
  for (std::int32_t chunk = 8 * own + lane / 4; chunk < n_chunks; chunk += 8 * all_warps) {
    const typename F::Chunk weights = F::load(tile, chunk, j);
    std::uint32_t q[4][8];
#pragma unroll
    for (int r = 0; r < 4; ++r) F::units(weights, r, q[r]);
#pragma unroll
    for (int c = 0; c < C; ++c) add_chunk<F>(weights, q, act_at<Tile::kColumns, F::kSub>(acts + x[c], chunk), acc[c]);
  }
  float sums[4 * C];
#pragma unroll
  for (int i = 0; i < 4 * C; ++i) sums[i] = acc[i / 4][i % 4];
  const int first = sum_by_halves<3>(sums, 4);  // over the chunks, of rows j
#pragma unroll
  for (int i = 0; i < kKept<4 * C, 3>; ++i) {
    const int c = (first + i) / 4, r = (first + i) % 4;
    if (C > 1 || (lane & 16) == 0) terms[warp * kTermFloats<C> + c * quant::kTileRows + 4 * j + r] = sums[i];
  }
  __syncthreads();
  add_warps(args, rows, terms, warps);
}

}  // namespace dodeca::gpu::DODECA_KERNELS

// The four kernels of a type.
#define DODECA_MULTIPLY_BLOCKS(lower, F)                                                                      \
  DODECA_KERNEL(multiply_##lower##_1, MultiplyArgs, kMultiplyThreads, 2) { multiply_blocks<F, 1>(args); }     \
  DODECA_KERNEL(multiply_##lower##_2, MultiplyArgs, kMultiplyThreads, 2) { multiply_blocks<F, 2>(args); }     \
  DODECA_KERNEL(multiply_##lower##_4, MultiplyArgs, kMultiplyThreads / 2, 3) { multiply_blocks<F, 4>(args); } \
  DODECA_KERNEL(multiply_##lower##_8, MultiplyArgs, kMultiplyThreads / 2, 2) { multiply_blocks<F, 8>(args); }
