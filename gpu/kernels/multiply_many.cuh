// Products of many rows, of types of blocks: 64 weight rows times 64 activation rows a block, on the tensor cores'
// integers.
//
// A warp has a tile of 16 weight rows. 256 columns at a time it decodes the tile into shared memory, and multiplies it
// with the block's activation rows, which all warps share. Weights are A, activation rows are the columns of B
// (gpu/kernels/tensor.hpp): so a lane has results of two weight rows, g and g + 8, and their scales.
//
// Sums of a sub-block are exact; times its scale they are added as integers over a block of 256 columns (of 32 where
// the activations have a scale for each), and then with one fma in float32.
#pragma once

#include "gpu/kernels/multiply_limits.hpp"
#include "gpu/kernels/multiply_sums.cuh"
#include "gpu/kernels/tensor.hpp"
#include "gpu/kernels/weights.cuh"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

// Bytes of 256 columns of an activation row in either format; in shared memory 16 more, so that eight rows lie on
// different banks.
inline constexpr int kActBytes = 320, kActWords = (kActBytes + 16) / 4;
static_assert(sizeof(quant::Q8Block256) == kActBytes && 8 * sizeof(quant::Q8Block32) == kActBytes);

// Where four columns, unit u of a chunk, of a weight row lie: lanes that write four rows of one unit and lanes that
// read one row of four units meet all banks.
__device__ inline int code_place(int chunk, int u, int row) {
  return 128 * chunk + 16 * (u ^ (chunk & 1)) + (row ^ 8 * (u >> 1 & 1));
}

// 256 columns of a tile, decoded. The second number of a scale is the minimum, or what the codes lack.
template <class F>
struct ManyTile {
  static constexpr int kFactors = F::Tile::kColumns == 256 ? 1 : 8, kSubs = 32 / F::kSub;
  std::uint32_t codes[8 * 128];
  std::int32_t scales[8][kSubs][quant::kTileRows];
  float factors[kFactors][quant::kTileRows], offsets[kFactors][quant::kTileRows];
};

__device__ inline int scale_of(std::int32_t pair) { return static_cast<std::int16_t>(pair & 0xffff); }
__device__ inline int second_of(std::int32_t pair) { return pair >> 16; }

// Lane l has chunk l / 4 and rows 4 (l mod 4) to 4 (l mod 4) + 3, as in the products of few rows.
template <class F>
__device__ inline void decode_chunk(const std::byte* tile, std::int32_t chunk, int lane, ManyTile<F>& out) {
  using Many = ManyTile<F>;
  const int j = lane % 4, own = lane / 4;
  const typename F::Chunk weights = F::load(tile, chunk, j);
  std::uint32_t q[4][8];
#pragma unroll
  for (int r = 0; r < 4; ++r) F::units(weights, r, q[r]);
#pragma unroll
  for (int u = 0; u < 8; ++u)
    *reinterpret_cast<uint4*>(out.codes + code_place(own, u, 4 * j)) = make_uint4(q[0][u], q[1][u], q[2][u], q[3][u]);
#pragma unroll
  for (int r = 0; r < 4; ++r) {
#pragma unroll
    for (int s = 0; s < Many::kSubs; ++s) {
      int second = F::shift(weights, r);
      if constexpr (F::kMinima) second = F::min(weights, r, s);
      out.scales[own][s][4 * j + r] = (F::scale(weights, r, s) & 0xffff) | second * 65536;
    }
    if (Many::kFactors == 1 && own != 0) continue;
    out.factors[Many::kFactors == 1 ? 0 : own][4 * j + r] = F::factor(weights, r);
    if constexpr (F::kMinima || F::kOffset)
      out.offsets[Many::kFactors == 1 ? 0 : own][4 * j + r] = F::offset(weights, r);
  }
}

// The facts of an activation row's 256 columns in shared memory.
template <class F>
__device__ inline float act_scale(const std::uint32_t* row, int chunk) {
  return __uint_as_float(F::Tile::kColumns == 256 ? row[76] : row[10 * chunk + 8]);
}
template <class F>
__device__ inline int act_sum(const std::uint32_t* row, int chunk, int s) {
  if constexpr (F::Tile::kColumns != 256) return static_cast<int>(row[10 * chunk + 9]);
  const std::uint32_t pair = F::kSub == 16 ? row[64 + chunk] : row[72 + chunk / 2];
  const int upper = F::kSub == 16 ? s : chunk % 2;
  return static_cast<std::int16_t>(pair >> (16 * upper) & 0xffffu);
}

// The scaled sums of a block of 256 columns, with its minima, to the lane's results.
template <class F>
__device__ inline void add_block(const ManyTile<F>& tile, const std::uint32_t (&acts)[kManyRows * kActWords],
                                 int n_chunks, int lane, const int (&isum)[8][4], float (&acc)[8][4]) {
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    int msum[4] = {0, 0, 0, 0};
    const std::uint32_t* const row = acts + (8 * n + 2 * t) * kActWords;
    if constexpr (F::kMinima) {
      for (int chunk = 0; chunk < n_chunks; ++chunk) {
#pragma unroll
        for (int s = 0; s < ManyTile<F>::kSubs; ++s) {
#pragma unroll
          for (int i = 0; i < 4; ++i)
            msum[i] += second_of(tile.scales[chunk][s][g + i / 2 * 8]) * act_sum<F>(row + i % 2 * kActWords, chunk, s);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float x = act_scale<F>(row + i % 2 * kActWords, 0);
      acc[n][i] = fmaf(tile.factors[0][g + i / 2 * 8] * x, static_cast<float>(isum[n][i]), acc[n][i]);
      if constexpr (F::kMinima)
        acc[n][i] = fmaf(-(tile.offsets[0][g + i / 2 * 8] * x), static_cast<float>(msum[i]), acc[n][i]);
    }
  }
}

// Adds 256 columns, n_chunks of 32 of them, to the sums of a lane: eight times four, of activation rows 8n + 2t and
// 8n + 2t + 1 for weight rows g and g + 8.
template <class F>
__device__ inline void add_columns(const ManyTile<F>& tile, const std::uint32_t (&acts)[kManyRows * kActWords],
                                   int n_chunks, int lane, float (&acc)[8][4]) {
  constexpr int kSubs = ManyTile<F>::kSubs;
  constexpr bool kSuper = F::Tile::kColumns == 256;
  const int g = lane / 4, t = lane % 4;
  int isum[8][4];
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) isum[n][i] = 0;
  }
  for (int chunk = 0; chunk < n_chunks; ++chunk) {
    std::uint32_t a[4];  // units t and t + 4 of both rows
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = tile.codes[code_place(chunk, t + 4 * (i / 2), g + 8 * (i % 2))];
    const int words = (kSuper ? 8 : 10) * chunk + t;
#pragma unroll
    for (int s = 0; s < kSubs; ++s) {
      const std::int32_t pair[2] = {tile.scales[chunk][s][g], tile.scales[chunk][s][g + 8]};
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const std::uint32_t* const own = acts + (8 * n + g) * kActWords + words;
        const std::uint32_t* const row = acts + (8 * n + 2 * t) * kActWords;
        int dot[4] = {0, 0, 0, 0};
        if constexpr (!F::kMinima) {
#pragma unroll
          for (int i = 0; i < 4; ++i) dot[i] = second_of(pair[i / 2]) * act_sum<F>(row + i % 2 * kActWords, chunk, s);
        }
        if constexpr (kSubs == 1)
          mma_s8(dot, a, own[0], own[4]);
        else
          mma_s8_k16(dot, a[2 * s], a[2 * s + 1], own[4 * s]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if constexpr (kSuper) {
            isum[n][i] += scale_of(pair[i / 2]) * dot[i];
          } else {
            const std::uint32_t* const facts = row + i % 2 * kActWords;
            const float x = act_scale<F>(facts, chunk);
            acc[n][i] = fmaf(tile.factors[chunk][g + i / 2 * 8] * x, static_cast<float>(dot[i]), acc[n][i]);
            if constexpr (F::kOffset)
              acc[n][i] = fmaf(tile.offsets[chunk][g + i / 2 * 8], x * static_cast<float>(act_sum<F>(facts, chunk, 0)),
                               acc[n][i]);
          }
        }
      }
    }
  }
  if constexpr (kSuper) add_block(tile, acts, n_chunks, lane, isum, acc);
}

template <class F>
__device__ inline void multiply_many(const MultiplyArgs& args) {
  using Tile = typename F::Tile;
  DODECA_SHARED(ManyTile<F>, tiles, [kManyTiles]);
  DODECA_SHARED(std::uint32_t, acts, [kManyRows * kActWords]);
  const BlockRows<kManyRows> rows(args);
  if (rows.count <= 0) return;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const std::int32_t tile = static_cast<std::int32_t>(blockIdx.x) * kManyTiles + warp,
                     n_tiles = (args.n_out + quant::kTileRows - 1) / quant::kTileRows, n_chunks = args.n_in / 32;
  const bool has_tile = tile < n_tiles;
  const std::byte* const weights =
      args.weights + rows.slice * args.slice_bytes + tile * static_cast<std::int64_t>(Tile::bytes(args.n_in));
  const std::byte* const act_rows = rows.acts(args);
  float acc[8][4];
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) acc[n][i] = 0.0f;
  }
  // Eight bytes at a time: rows of small blocks are aligned to no more.
  constexpr int kPieces = kActBytes / 8;
  for (std::int32_t first = 0; first < n_chunks; first += 8) {
    const int here = n_chunks - first < 8 ? n_chunks - first : 8;
    for (int i = thread; i < kManyRows * kPieces; i += static_cast<int>(blockDim.x)) {
      const int row = i / kPieces, piece = i % kPieces;
      cp_async<8>(acts + row * kActWords + 2 * piece,
                  act_rows + rows.act_offset(args, row) + first / 8 * kActBytes + 8 * piece,
                  piece < here * (kPieces / 8));
    }
    cp_async_commit();
    if (has_tile && lane / 4 < here) decode_chunk<F>(weights, first + lane / 4, lane, tiles[warp]);
    cp_async_wait<0>();
    __syncthreads();
    if (has_tile) add_columns<F>(tiles[warp], acts, here, lane, acc);
    __syncthreads();
  }
  if (!has_tile) return;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::int32_t c = 8 * n + 2 * (lane % 4) + i % 2, row = tile * quant::kTileRows + lane / 4 + i / 2 * 8;
      if (c >= rows.count || row >= args.n_out) continue;
      store_result(args, rows, c, row, acc[n][i]);
    }
  }
}

}  // namespace dodeca::gpu::DODECA_KERNELS

#define DODECA_MULTIPLY_MANY(lower, F) \
  DODECA_KERNEL(multiply_##lower##_many, MultiplyArgs, 32 * kManyTiles, 2) { multiply_many<F>(args); }
