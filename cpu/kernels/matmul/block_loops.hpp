// The loops around the block-quantized products, for every vector ISA: which tile, which block, which activation rows.
// What is done to them is a policy F, one per weight format and ISA:
//   Tile, Act                         the tile shape and the activation block
//   Acc, zero(), finish(acc, floats)  the register accumulator of a result
//   kFewRows, dots<C>(header, body, x[C], acc[C])
//                                     few rows, up to kFewRows: a block decoded in registers, folded into C sums
//   Decoded, kStep, decode(tile, block, n_blocks, out)
//                                     many rows: a step of blocks as plain bytes and factors
//   kMaxTiles, kMaxColumns, multiply<T, C>(w, x, n_blocks, acc)
//                                     T decoded tiles times C rows, into acc[C][T][16]
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

// How far ahead of its use the stream is fetched, over the page borders where hardware prefetching stops: first into L2
// (the few line buffers of L1 would not hide the latency of memory), then into L1.
constexpr int kFarBytes = 16384, kNearBytes = 2048;

DODECA_INLINE void fetch(const std::byte* body, int bytes) {
  for (int line = 0; line < bytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(body + kFarBytes + line), _MM_HINT_T1);
    _mm_prefetch(reinterpret_cast<const char*>(body + kNearBytes + line), _MM_HINT_T0);
  }
}

// At most C activation rows: each weight is decoded in registers and used for all of them. Where there are fewer, the
// last one is computed again and not stored.
template <class F, int C>
[[gnu::noinline]] void gemv_rows(const MatmulArgs& args) {
  using Tile = typename F::Tile;
  using Act = typename F::Act;
  const std::size_t tile_bytes = Tile::bytes(args.n_in);
  const std::int64_t n_blocks = args.n_in / Tile::kColumns;
  const Act* rows[C];
  for (int c = 0; c < C; ++c) rows[c] = act_row<Act>(args, c < args.n_acts ? c : args.n_acts - 1);
  if constexpr (F::kReorders) {
    auto* copies = reinterpret_cast<Act*>(args.scratch);
    for (int c = 0; c < C; ++c) {
      F::reorder(rows[c], n_blocks, copies + c * n_blocks);
      rows[c] = copies + c * n_blocks;
    }
  }
  for (std::int64_t tile = args.tile_begin; tile < args.tile_end; ++tile) {
    const std::byte* w = args.weights + static_cast<std::size_t>(tile) * tile_bytes;
    const Act* x[C];
    typename F::Acc acc[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      x[c] = rows[c];
      acc[c] = F::zero();
    }
    for (std::int64_t block = 0; block < n_blocks; ++block) {
      const std::byte* body = w + Tile::body(block);
      fetch(body, Tile::kBodyBytes);
      F::template dots<C>(w + Tile::header(block), body, x, acc);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) ++x[c];
    }
    alignas(64) float results[kTileRows];
    for (int c = 0; c < C && c < args.n_acts; ++c) {
      F::finish(acc[c], results);
      store_rows(args, tile, c, results);
    }
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
    for (int t = 0; t < T; ++t) {
      const std::byte* packed = args.weights + static_cast<std::size_t>(tile + t) * tile_bytes;
      fetch(packed + Tile::body(block), n * Tile::kBodyBytes);
      F::decode(packed, block, n, w[t]);
    }
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

// Few activation rows, padded to the next number that has code of its own.
template <class F>
DODECA_INLINE void gemv_few(const MatmulArgs& args) {
  if (args.n_acts == 0) return;
  if constexpr (F::kReorders) {  // where the copies fit
    const std::size_t row = static_cast<std::size_t>(args.n_in / F::Tile::kColumns) * sizeof(typename F::Act);
    if (F::kFewRows * row > kFixedScratchBytes) return gemm_many<F>(args);
  }
  if (args.n_acts == 1) return gemv_rows<F, 1>(args);
  if (args.n_acts == 2) return gemv_rows<F, 2>(args);
  if constexpr (F::kFewRows >= 4) {
    if (args.n_acts <= 4) return gemv_rows<F, 4>(args);
  }
  if constexpr (F::kFewRows >= 8) {
    if (args.n_acts <= 6) return gemv_rows<F, 6>(args);
    if (args.n_acts <= 8) return gemv_rows<F, 8>(args);
  }
  gemm_many<F>(args);
}

}  // namespace
}  // namespace dodeca::cpu

// The two entry points of a format.
#define DODECA_MATMUL(weights, F)                                              \
  void gemm_##weights(const MatmulArgs& args) noexcept { gemm_many<F>(args); } \
  void gemv_##weights(const MatmulArgs& args) noexcept { gemv_few<F>(args); }
