// Shared by the avx512_vnni files: vector helpers and the two loops, gemv for one activation row and gemm for many,
// into which a weight format plugs as a policy. Everything has internal linkage.
//
// A policy F gives
//   Tile, Act, kStep            the tile shape, the activation block, blocks per gemm step
//   dot(header, body, x, acc)   one block of 16 rows times one activation block, folded into acc
//   Decoded, decode(tile, block, n_blocks, out)   one step's codes as bytes, factors as vectors
//   multiply<T, C>(w, x, n_blocks, acc)           T decoded tiles times C activation rows, folded into acc[c][t][16]
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/matmul/matmul_args.hpp"
#include "cpu/kernels/matmul/tiles.hpp"
#include "cpu/kernels/quantize_act/q8_blocks.hpp"

#define DODECA_INLINE [[gnu::always_inline]] inline

namespace dodeca::cpu::avx512_vnni {
namespace {

DODECA_INLINE __m512i load(const void* at) { return _mm512_load_si512(at); }
DODECA_INLINE void store(void* at, __m512i v) { _mm512_store_si512(at, v); }
DODECA_INLINE __m512i bytes(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
// Four bytes of an activation row (or two sums) in every lane.
DODECA_INLINE __m512i spread(const void* at) {
  std::int32_t four;
  __builtin_memcpy(&four, at, 4);
  return _mm512_set1_epi32(four);
}
DODECA_INLINE __m512i dot4(__m512i sum, __m512i codes, __m512i x) { return _mm512_dpbusd_epi32(sum, codes, x); }
DODECA_INLINE __m512i dot2(__m512i sum, __m512i a, __m512i b) { return _mm512_dpwssd_epi32(sum, a, b); }
DODECA_INLINE __m512i select(__m512i mask, __m512i yes, __m512i no) {
  return _mm512_ternarylogic_epi32(mask, yes, no, 0xca);
}
DODECA_INLINE __m512i and_or(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi32(a, b, c, 0xea); }
// i16 pairs (low half of a, low half of b) in every lane.
DODECA_INLINE __m512i pair_low(__m512i a, __m512i b) {
  return _mm512_mask_blend_epi16(0xaaaaaaaau, a, _mm512_slli_epi32(b, 16));
}
DODECA_INLINE __m512 halves(const void* at) {
  return _mm512_cvtph_ps(_mm256_load_si256(static_cast<const __m256i*>(at)));
}
DODECA_INLINE __m512 to_float(__m512i v) { return _mm512_cvtepi32_ps(v); }

DODECA_INLINE const std::byte* act_row(const MatmulArgs& args, std::int64_t i) {
  const std::int64_t row = args.act_rows == nullptr ? i : args.act_rows[i];
  return args.acts + static_cast<std::size_t>(row) * args.act_stride;
}
// Rows of a tile that exist.
DODECA_INLINE __mmask16 row_mask(const MatmulArgs& args, std::int64_t tile) {
  const std::int64_t left = args.n_out - tile * kTileRows;
  return left >= kTileRows ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
}

// Bytes that the stream is fetched ahead of its use: several blocks, across the page borders where hardware stops.
constexpr int kAheadBytes = 4096;

template <class F>
DODECA_INLINE void gemv_one(const MatmulArgs& args) {
  using Tile = typename F::Tile;
  const std::size_t tile_bytes = Tile::bytes(args.n_in);
  const std::int64_t n_blocks = args.n_in / Tile::kColumns;
  const auto* x = reinterpret_cast<const typename F::Act*>(act_row(args, 0));
  for (std::int64_t tile = args.tile_begin; tile < args.tile_end; ++tile) {
    const std::byte* w = args.weights + static_cast<std::size_t>(tile) * tile_bytes;
    __m512 acc = _mm512_setzero_ps();
    for (std::int64_t block = 0; block < n_blocks; ++block) {
      const std::byte* body = w + Tile::body(block);
      for (int line = 0; line < Tile::kBodyBytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(body + kAheadBytes + line), _MM_HINT_T0);
      }
      acc = F::dot(w + Tile::header(block), body, x[block], acc);
    }
    _mm512_mask_storeu_ps(args.out + tile * kTileRows, row_mask(args, tile), acc);
  }
}

constexpr int kChunk = 128;     // activation rows whose accumulators stay near
constexpr int kMaxTiles = 2;    // tiles per pass
constexpr int kMaxColumns = 6;  // activation rows per register block

template <class F, int T, int C>
DODECA_INLINE void columns(const MatmulArgs& args, const typename F::Decoded* w, std::int64_t block, int n_blocks,
                           std::int64_t first, int i, float* acc) {
  const typename F::Act* x[C];
  for (int c = 0; c < C; ++c) x[c] = reinterpret_cast<const typename F::Act*>(act_row(args, first + i + c)) + block;
  F::template multiply<T, C>(w, x, n_blocks, acc + static_cast<std::size_t>(i) * (T * kTileRows));
}

template <class F, int T>
[[gnu::noinline]] void gemm_tiles(const MatmulArgs& args, std::int64_t tile, std::int64_t first, int count) {
  using Tile = typename F::Tile;
  static_assert(sizeof(typename F::Decoded) * kMaxTiles + kChunk * kMaxTiles * 64 <= kFixedScratchBytes);
  const std::size_t tile_bytes = Tile::bytes(args.n_in);
  const std::int64_t n_blocks = args.n_in / Tile::kColumns;
  auto* w = reinterpret_cast<typename F::Decoded*>(args.scratch);
  auto* acc = reinterpret_cast<float*>(args.scratch + sizeof(typename F::Decoded) * kMaxTiles);  // [count][T][16]
  for (int i = 0; i < count * T; ++i) _mm512_store_ps(acc + i * kTileRows, _mm512_setzero_ps());
  for (std::int64_t block = 0; block < n_blocks; block += F::kStep) {
    const int n = n_blocks - block < F::kStep ? static_cast<int>(n_blocks - block) : F::kStep;
    for (int t = 0; t < T; ++t)
      F::decode(args.weights + static_cast<std::size_t>(tile + t) * tile_bytes, block, n, w[t]);
    int i = 0;
    for (; i + kMaxColumns <= count; i += kMaxColumns) columns<F, T, kMaxColumns>(args, w, block, n, first, i, acc);
    for (; i + 3 <= count && i + 4 != count; i += 3) columns<F, T, 3>(args, w, block, n, first, i, acc);
    for (; i + 2 <= count; i += 2) columns<F, T, 2>(args, w, block, n, first, i, acc);
    if (i < count) columns<F, T, 1>(args, w, block, n, first, i, acc);
  }
  for (int i = 0; i < count; ++i) {
    for (int t = 0; t < T; ++t) {
      _mm512_mask_storeu_ps(args.out + (first + i) * args.out_stride + (tile + t) * kTileRows, row_mask(args, tile + t),
                            _mm512_load_ps(acc + (i * T + t) * kTileRows));
    }
  }
}

template <class F>
DODECA_INLINE void gemm_many(const MatmulArgs& args) {
  for (std::int64_t first = 0; first < args.n_acts; first += kChunk) {
    const int count = args.n_acts - first < kChunk ? static_cast<int>(args.n_acts - first) : kChunk;
    std::int64_t tile = args.tile_begin;
    for (; tile + 2 <= args.tile_end; tile += 2) gemm_tiles<F, 2>(args, tile, first, count);
    if (tile < args.tile_end) gemm_tiles<F, 1>(args, tile, first, count);
  }
}

}  // namespace
}  // namespace dodeca::cpu::avx512_vnni

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
