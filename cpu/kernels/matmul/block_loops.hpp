// The loops around the block-quantized products, for every vector ISA: which tile, which block, which activation rows.
// What is done to them is a policy F, one per weight format and ISA:
//   Tile, Act                   the tile shape and the activation block
//   Acc, zero(), dot(header, body, x, acc), finish(acc, floats)  one activation row: a block folded into a register
//   accumulator Decoded, kStep, decode(tile, block, n_blocks, out)           many rows: a step of blocks as plain bytes
//   and factors kMaxTiles, kMaxColumns, multiply<T, C>(w, x, n_blocks, acc)  T decoded tiles times C activation rows,
//   into acc[C][T][16]
// All internal: each kernel file gets its own copy, compiled for its ISA.
#pragma once

#include <xmmintrin.h>

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/matmul/matmul_args.hpp"
#include "cpu/kernels/matmul/tiles.hpp"

#define DODECA_INLINE [[gnu::always_inline]] inline

namespace dodeca::cpu {
namespace {

template <class Act>
DODECA_INLINE const Act* act_row(const MatmulArgs& args, std::int64_t i) {
  const std::int64_t row = args.act_rows == nullptr ? i : args.act_rows[i];
  return reinterpret_cast<const Act*>(args.acts + static_cast<std::size_t>(row) * args.act_stride);
}

// Stores those of a tile's 16 results whose rows exist.
DODECA_INLINE void store_rows(const MatmulArgs& args, std::int64_t tile, std::int64_t act, const float* acc) {
  float* out = args.out + act * args.out_stride + tile * kTileRows;
  const std::int64_t left = args.n_out - tile * kTileRows;
  if (left >= kTileRows) {
    for (int r = 0; r < kTileRows; ++r) out[r] = acc[r];
  } else {
    for (int r = 0; r < left; ++r) out[r] = acc[r];
  }
}

// How far ahead of its use the stream is fetched: over the page borders where hardware prefetching stops.
constexpr int kAheadBytes = 4096;

template <class F>
DODECA_INLINE void gemv_one(const MatmulArgs& args) {
  using Tile = typename F::Tile;
  const std::size_t tile_bytes = Tile::bytes(args.n_in);
  const std::int64_t n_blocks = args.n_in / Tile::kColumns;
  const auto* x = act_row<typename F::Act>(args, 0);
  for (std::int64_t tile = args.tile_begin; tile < args.tile_end; ++tile) {
    const std::byte* w = args.weights + static_cast<std::size_t>(tile) * tile_bytes;
    typename F::Acc acc = F::zero();
    for (std::int64_t block = 0; block < n_blocks; ++block) {
      const std::byte* body = w + Tile::body(block);
      for (int line = 0; line < Tile::kBodyBytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(body + kAheadBytes + line), _MM_HINT_T0);
      }
      acc = F::dot(w + Tile::header(block), body, x[block], acc);
    }
    alignas(64) float results[kTileRows];
    F::finish(acc, results);
    store_rows(args, tile, 0, results);
  }
}

constexpr int kChunk = 128;  // activation rows whose accumulators stay near

template <class F, int T, int C>
DODECA_INLINE void columns(const MatmulArgs& args, const typename F::Decoded* w, std::int64_t block, int n_blocks,
                           std::int64_t first, int i, float* acc) {
  const typename F::Act* x[C];
  for (int c = 0; c < C; ++c) x[c] = act_row<typename F::Act>(args, first + i + c) + block;
  F::template multiply<T, C>(w, x, n_blocks, acc + static_cast<std::size_t>(i) * (T * kTileRows));
}

template <class F, int T>
[[gnu::noinline]] void gemm_tiles(const MatmulArgs& args, std::int64_t tile, std::int64_t first, int count) {
  using Tile = typename F::Tile;
  using Decoded = typename F::Decoded;
  static_assert(sizeof(Decoded) * T + kChunk * T * kTileRows * sizeof(float) <= kFixedScratchBytes);
  const std::size_t tile_bytes = Tile::bytes(args.n_in);
  const std::int64_t n_blocks = args.n_in / Tile::kColumns;
  auto* w = reinterpret_cast<Decoded*>(args.scratch);
  auto* acc = reinterpret_cast<float*>(args.scratch + sizeof(Decoded) * T);  // [count][T][16]
  for (int i = 0; i < count * T * kTileRows; ++i) acc[i] = 0.0f;
  for (std::int64_t block = 0; block < n_blocks; block += F::kStep) {
    const int n = n_blocks - block < F::kStep ? static_cast<int>(n_blocks - block) : F::kStep;
    for (int t = 0; t < T; ++t)
      F::decode(args.weights + static_cast<std::size_t>(tile + t) * tile_bytes, block, n, w[t]);
    int i = 0;
    if constexpr (F::kMaxColumns == 6) {
      for (; i + 6 <= count; i += 6) columns<F, T, 6>(args, w, block, n, first, i, acc);
    }
    for (; i + 3 <= count && i + 4 != count; i += 3) columns<F, T, 3>(args, w, block, n, first, i, acc);
    for (; i + 2 <= count; i += 2) columns<F, T, 2>(args, w, block, n, first, i, acc);
    if (i < count) columns<F, T, 1>(args, w, block, n, first, i, acc);
  }
  for (int i = 0; i < count; ++i) {
    for (int t = 0; t < T; ++t) store_rows(args, tile + t, first + i, acc + (i * T + t) * kTileRows);
  }
}

template <class F>
DODECA_INLINE void gemm_many(const MatmulArgs& args) {
  for (std::int64_t first = 0; first < args.n_acts; first += kChunk) {
    const int count = args.n_acts - first < kChunk ? static_cast<int>(args.n_acts - first) : kChunk;
    std::int64_t tile = args.tile_begin;
    if constexpr (F::kMaxTiles == 2) {
      for (; tile + 2 <= args.tile_end; tile += 2) gemm_tiles<F, 2>(args, tile, first, count);
    }
    for (; tile < args.tile_end; ++tile) gemm_tiles<F, 1>(args, tile, first, count);
  }
}

}  // namespace
}  // namespace dodeca::cpu

// The two entry points of a format.
#define DODECA_MATMUL(weights, F)                                              \
  void gemm_##weights(const MatmulArgs& args) noexcept { gemm_many<F>(args); } \
  void gemv_##weights(const MatmulArgs& args) noexcept {                       \
    if (args.n_acts == 1) {                                                    \
      gemv_one<F>(args);                                                       \
    } else {                                                                   \
      gemm_many<F>(args);                                                      \
    }                                                                          \
  }
