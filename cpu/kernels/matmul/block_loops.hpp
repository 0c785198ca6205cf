// The loops around the block-quantized products, for every vector ISA: which tile, which block, which activation rows.
// What is done to them is a policy F, one per weight format and ISA:
//   Tile, Act                         the tile shape and the activation block
//   Acc, zero(), finish(acc, floats)  the register accumulator of a result
//   kFewRows, dots<C>(header, body, x[C], acc[C])
//                                     few rows, up to kFewRows: a block decoded in registers, folded into C sums
//   kFetchFrom                        from how many rows on that takes longer than memory
//   Decoded, kStep, decode(tile, block, n_blocks, out)
//                                     many rows: a step of blocks as plain bytes and factors
//   kMaxTiles (1, 2 or 4), kMaxColumns (3 or 6), multiply<T, C>(w, x, n_blocks, acc)
//                                     T decoded tiles times C rows, into acc[C][T][16]
//   kCopies, copy(act, copy)          whether many rows are first copied, a panel at a time, into the order of the codes
// All internal: each kernel file gets its own copy, compiled for its ISA.
#pragma once

#include <xmmintrin.h>

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/matmul/matmul_args.hpp"
#include "cpu/kernels/matmul/stream.hpp"
#include "quant/formats/formats.hpp"

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
  if (args.accumulate) {
    for (int r = 0; r < (left >= kTileRows ? kTileRows : left); ++r) out[r] += acc[r];
  } else if (left >= kTileRows) {
    for (int r = 0; r < kTileRows; ++r) out[r] = acc[r];
  } else {
    for (int r = 0; r < left; ++r) out[r] = acc[r];
  }
}

// How far ahead of its use the stream is fetched, over the page borders where hardware prefetching stops: first into L2
// (the few line buffers of L1 would not hide the latency of memory), then into L1. The hardware of Zen 2 to 4 follows a
// stream in ascending order better than instructions do: there only products that take longer than memory fetch, and
// only into L2. That of Zen 5 loses streams of long blocks, and has line buffers enough to fetch into L1 alone.
constexpr int kFarBytes = 16384, kNearBytes = 2048, kZen5Bytes = 8192;
const StreamFetch kStreamFetch = stream_fetch();

DODECA_INLINE void fetch_into_l2(const std::byte* at, int bytes) {
  for (int line = 0; line < bytes; line += 64) _mm_prefetch(reinterpret_cast<const char*>(at + line), _MM_HINT_T1);
}
DODECA_INLINE void fetch_into_l1(const std::byte* at, int bytes) {
  for (int line = 0; line < bytes; line += 64) _mm_prefetch(reinterpret_cast<const char*>(at + line), _MM_HINT_T0);
}
// The stream behind a block of `bytes` at `body`. slow: what is done with it takes longer than memory.
DODECA_INLINE void fetch_stream(const std::byte* body, int bytes, bool slow) {
  if (kStreamFetch == StreamFetch::kIntoL1) {
    fetch_into_l1(body + kZen5Bytes, bytes);
  } else if (kStreamFetch == StreamFetch::kIntoCaches) {
    fetch_into_l2(body + kFarBytes, bytes);
    fetch_into_l1(body + kNearBytes, bytes);
  } else if (slow) {
    fetch_into_l2(body + kFarBytes, bytes);
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
      fetch_stream(body, Tile::kBodyBytes + 64, C >= F::kFetchFrom);  // with the next header
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

// Many rows go by panels: kPanelBytes of activation rows stay in the smallest L2 (512 KiB, Zen 2 and 3) while the weights
// of a group of tiles are decoded step by step and multiplied with them. Where a panel holds whole rows a group is what
// is decoded together, otherwise kGroupTiles tiles, whose sums wait in L2.
constexpr int kChunk = 128, kGroupTiles = 16;
constexpr std::int64_t kPanelBytes = 320 << 10;

// Where a panel's weights begin.
struct PanelStart {
  std::int64_t tile, block;
};

// Activation rows [first, first + count).
struct ActRows {
  std::int64_t first;
  int count;
};

// Blocks of T tiles from `at` to `end` times some activation rows, added to acc[count][T][16] (set, from block 0 on) and
// stored after the last block. `next` is what will be read after this panel. copies: of the panel's blocks of the rows, where
// F takes them, [end - at.block][count].
template <class F, int T>
[[gnu::noinline]] void gemm_panel(const MatmulArgs& args, PanelStart at, std::int64_t end, PanelStart next,
                                  ActRows rows, const typename F::Act* copies, float* acc) {
  const auto [first, count] = rows;
  using Tile = typename F::Tile;
  using Decoded = typename F::Decoded;
  const std::size_t tile_bytes = Tile::bytes(args.n_in);
  const std::int64_t n_blocks = args.n_in / Tile::kColumns;
  auto* w = reinterpret_cast<Decoded*>(args.scratch);
  if (at.block == 0) {
    for (int i = 0; i < count * T * kTileRows; ++i) acc[i] = 0.0f;
  }
  for (std::int64_t block = at.block; block < end; block += F::kStep) {
    const int n = end - block < F::kStep ? static_cast<int>(end - block) : F::kStep;
    for (int t = 0; t < T; ++t) {
      const std::byte* packed = args.weights + static_cast<std::size_t>(at.tile + t) * tile_bytes;
      const std::byte* later = args.weights + static_cast<std::size_t>(next.tile + t) * tile_bytes;
      const auto bytes = static_cast<int>(Tile::body(block + n) - Tile::body(block));  // headers too
      fetch_into_l2(later + Tile::body(next.block + block - at.block), bytes);
      if (kStreamFetch == StreamFetch::kIntoCaches) fetch_into_l1(packed + Tile::body(block) + kNearBytes, bytes);
      F::decode(packed, block, n, w[t]);
    }
    int i = 0;
    const auto columns = [&]<int C>() __attribute__((always_inline)) {
      const typename F::Act* x[C];
      for (int c = 0; c < C; ++c) {
        if constexpr (F::kCopies)
          x[c] = copies + (block - at.block) * count + i + c;
        else
          x[c] = act_row<typename F::Act>(args, first + i + c) + block;
      }
      F::template multiply<T, C>(w, x, n, acc + static_cast<std::size_t>(i) * (T * kTileRows));
    };
    for (int groups = (count + F::kMaxColumns - 1) / F::kMaxColumns; groups > 0; --groups) {
      const int c = (count - i + groups - 1) / groups;  // as even as can be: a small group leaves multipliers waiting
      if constexpr (F::kMaxColumns == 6) {
        if (c == 6) columns.template operator()<6>();
        if (c == 5) columns.template operator()<5>();
        if (c == 4) columns.template operator()<4>();
      }
      if (c == 3) columns.template operator()<3>();
      if (c == 2) columns.template operator()<2>();
      if (c == 1) columns.template operator()<1>();
      i += c;
    }
  }
  if (end < n_blocks) return;
  for (int i = 0; i < count; ++i) {
    for (int t = 0; t < T; ++t) store_rows(args, at.tile + t, first + i, acc + (i * T + t) * kTileRows);
  }
}

// What gemm_panel takes, for n_tiles tiles.
template <class F>
struct Panels {
  PanelStart at;
  std::int64_t n_tiles, end;
  PanelStart next;
  ActRows rows;
  const typename F::Act* copies;
};

// The same for 1 to T tiles.
template <class F, int T>
DODECA_INLINE void gemm_tiles(const MatmulArgs& args, Panels<F> p, float* acc) {
  if (p.n_tiles >= T) {
    gemm_panel<F, T>(args, p.at, p.end, p.next, p.rows, p.copies, acc);
    p.n_tiles -= T;
    p.at.tile += T;
    acc += static_cast<std::size_t>(T * p.rows.count) * kTileRows;
  }
  if constexpr (T > 1) {
    if (p.n_tiles > 0) gemm_tiles<F, T / 2>(args, p, acc);
  }
}

// Copies of blocks [begin, end) of the rows, [end - begin][count].
template <class F>
[[gnu::noinline]] void copy_panel(const MatmulArgs& args, ActRows rows, std::int64_t begin, std::int64_t end,
                                  typename F::Act* copies) {
  for (int i = 0; i < rows.count; ++i) {
    const auto* row = act_row<typename F::Act>(args, rows.first + i);
    const auto* next = act_row<typename F::Act>(args, rows.first + (i + 1 < rows.count ? i + 1 : i));
    for (std::int64_t block = begin; block < end; ++block) {
      fetch_into_l1(reinterpret_cast<const std::byte*>(next + block), sizeof(typename F::Act));
      F::copy(row[block], copies[(block - begin) * rows.count + i]);
    }
  }
}

template <class F>
DODECA_INLINE void gemm_many(const MatmulArgs& args) {
  constexpr int kTiles = F::kMaxTiles;
  constexpr std::size_t kDecodedBytes = sizeof(typename F::Decoded) * kTiles,
                        kSumBytes = kChunk * kGroupTiles * kTileRows * sizeof(float);
  static_assert(!F::kCopies || F::kStep == 1);  // copies have a row's blocks apart
  static_assert(kPanelBytes >= F::kStep * kChunk * static_cast<int>(sizeof(typename F::Act)));
  static_assert(kDecodedBytes + kSumBytes + (F::kCopies ? kPanelBytes : 0) <= kFixedScratchBytes);
  const std::int64_t n_blocks = args.n_in / F::Tile::kColumns;
  auto* sums = reinterpret_cast<float*>(args.scratch + kDecodedBytes);  // [tile of the group][count][16]
  auto* copies = F::kCopies ? reinterpret_cast<typename F::Act*>(args.scratch + kDecodedBytes + kSumBytes) : nullptr;
  for (std::int64_t first = 0; first < args.n_acts; first += kChunk) {
    const int count = args.n_acts - first < kChunk ? static_cast<int>(args.n_acts - first) : kChunk;
    const std::int64_t fitting = kPanelBytes / (static_cast<std::int64_t>(sizeof(typename F::Act)) * count);
    const std::int64_t panel = fitting / F::kStep * F::kStep, n_group = panel < n_blocks ? kGroupTiles : kTiles;
    for (std::int64_t group = args.tile_begin; group < args.tile_end; group += n_group) {
      const std::int64_t group_end = args.tile_end - group < n_group ? args.tile_end : group + n_group;
      for (std::int64_t begin = 0; begin < n_blocks; begin += panel) {
        const std::int64_t end = n_blocks - begin < panel ? n_blocks : begin + panel;
        if constexpr (F::kCopies) {
          if (panel < n_blocks || group == args.tile_begin) copy_panel<F>(args, {first, count}, begin, end, copies);
        }
        for (std::int64_t tile = group; tile < group_end; tile += kTiles) {
          PanelStart next{tile + kTiles, begin};
          if (next.tile >= group_end) next = end < n_blocks ? PanelStart{group, end} : PanelStart{group_end, 0};
          const std::int64_t n_tiles = group_end - tile < kTiles ? group_end - tile : kTiles;
          gemm_tiles<F, kTiles>(args, {{tile, begin}, n_tiles, end, next, {first, count}, copies},
                                sums + (tile - group) * count * kTileRows);
        }
      }
    }
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
