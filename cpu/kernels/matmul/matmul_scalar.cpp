// The products' definition: plain loops over the tiles, in the order that matmul.hpp fixes. gemm is the same.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "quant/codec.hpp"
#include "quant/float_types.hpp"
#include "quant/layout/block_tiles.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu::scalar {
namespace {

using quant::DType;

constexpr int kChunk = 32;  // activation rows per pass over a tile

const std::byte* act_row(const MatmulArgs& args, std::int64_t i) {
  const std::int64_t row = args.act_rows == nullptr ? i : args.act_rows[i];
  return args.acts + static_cast<std::size_t>(row) * args.act_stride;
}

// Calls body(tile index, first activation, count, acc[count][16]) and stores what it leaves in acc.
template <class Body>
void for_tiles(const MatmulArgs& args, Body body) {
  float acc[kChunk][kTileRows];
  for (std::int64_t tile = args.tile_begin; tile < args.tile_end; ++tile) {
    const std::int64_t rows_left = args.n_out - tile * kTileRows;
    const int n_rows = rows_left < kTileRows ? static_cast<int>(rows_left) : kTileRows;
    for (std::int64_t first = 0; first < args.n_acts; first += kChunk) {
      const int count = args.n_acts - first < kChunk ? static_cast<int>(args.n_acts - first) : kChunk;
      body(tile, first, count, acc);
      for (int i = 0; i < count; ++i) {
        float* out = args.out + (first + i) * args.out_stride + tile * kTileRows;
        for (int r = 0; r < n_rows; ++r) out[r] = args.accumulate ? out[r] + acc[i][r] : acc[i][r];
      }
    }
  }
}

// ---- integer types

// A block's row as the product's small integers.
struct Integers {
  std::int16_t weight[256];
  std::int16_t scale[16];
};
template <DType T>
void read_integers(const quant::RowBlock& row, Integers& out) {
  using F = quant::Format<T>;
  for (int k = 0; k < F::Tile::kColumns; ++k) out.weight[k] = static_cast<std::int16_t>(F::weight(row, k));
  for (int g = 0; g < F::Tile::kColumns / F::kSub; ++g) out.scale[g] = static_cast<std::int16_t>(F::scale(row, g));
}

template <DType T>
void add_product(const quant::RowBlock& row, const Integers& w, const Q8Block256& x, float& acc) {
  using F = quant::Format<T>;
  constexpr int kSub = F::kSub;
  std::int32_t isum = 0, msum = 0;
  for (int g = 0; g < 256 / kSub; ++g) {
    std::int32_t dot = 0;
    for (int k = kSub * g; k < kSub * (g + 1); ++k) dot += w.weight[k] * x.q[k];
    isum += w.scale[g] * dot;
    if constexpr (F::kMinima) msum += row.min[g] * (kSub == 16 ? x.sums16[g] : x.sums32[g]);
  }
  acc = std::fma((F::kUnit * F::factor(row)) * x.scale, static_cast<float>(isum), acc);
  if constexpr (F::kMinima) {
    acc = std::fma(-(quant::f16_to_f32(row.m) * x.scale), static_cast<float>(msum), acc);
  }
}

template <DType T>
void add_product(const quant::RowBlock& row, const Integers& w, const Q8Block32& x, float& acc) {
  using F = quant::Format<T>;
  std::int32_t isum = 0;
  for (int k = 0; k < 32; ++k) isum += w.weight[k] * x.q[k];
  acc = std::fma(F::factor(row) * x.scale, static_cast<float>(isum), acc);
  if constexpr (F::kOffset) {
    acc = std::fma(quant::f16_to_f32(row.m), x.scale * static_cast<float>(x.sum), acc);
  }
}

template <DType T>
void blocks(const MatmulArgs& args) {
  using Tiles = quant::BlockTiles<T>;
  using Act = std::conditional_t<Tiles::Tile::kColumns == 256, Q8Block256, Q8Block32>;
  const std::size_t tile_bytes = Tiles::Tile::bytes(args.n_in);
  for_tiles(args, [&](std::int64_t tile, std::int64_t first, int count, float(*acc)[kTileRows]) {
    const std::byte* base = args.weights + static_cast<std::size_t>(tile) * tile_bytes;
    quant::RowBlock rows[kTileRows];
    Integers integers[kTileRows];
    std::memset(acc, 0, sizeof(float) * kTileRows * static_cast<std::size_t>(count));
    for (std::int64_t block = 0; block < args.n_in / Tiles::Tile::kColumns; ++block) {
      Tiles::get(base, block, rows);
      for (int r = 0; r < kTileRows; ++r) read_integers<T>(rows[r], integers[r]);
      for (int i = 0; i < count; ++i) {
        const Act& x = reinterpret_cast<const Act*>(act_row(args, first + i))[block];
        for (int r = 0; r < kTileRows; ++r) add_product<T>(rows[r], integers[r], x, acc[i][r]);
      }
    }
  });
}

// ---- floats

float to_float(float value) { return value; }
struct F16 {
  std::uint16_t bits;
};
struct BF16 {
  std::uint16_t bits;
};
float to_float(F16 value) { return quant::f16_to_f32(value.bits); }
float to_float(BF16 value) { return quant::bf16_to_f32(value.bits); }

// E4M3 bits moved into an f16 read as 2^-8 times the value, NaN codes as +-480 * 2^-8: vector code does the same.
struct E4M3 {
  std::uint8_t bits;
};
float to_float(E4M3 value) {
  return quant::f16_to_f32(static_cast<std::uint16_t>((value.bits & 0x80) << 8 | (value.bits & 0x7f) << 7));
}

// w: one row's weights, `step` apart.
template <class Word>
float dot(const Word* w, int step, const float* x, std::int64_t n) {
  float sum[4] = {0, 0, 0, 0};
  for (std::int64_t k = 0; k < n; ++k) sum[k % 4] = std::fma(to_float(w[k * step]), x[k], sum[k % 4]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <class Word>
void floats(const MatmulArgs& args) {
  const std::size_t tile_bytes = args.layout->tile_bytes(args.n_in);
  for_tiles(args, [&](std::int64_t tile, std::int64_t first, int count, float(*acc)[kTileRows]) {
    const auto* w = reinterpret_cast<const Word*>(args.weights + static_cast<std::size_t>(tile) * tile_bytes);
    for (int i = 0; i < count; ++i) {
      const auto* x = reinterpret_cast<const float*>(act_row(args, first + i));
      for (int r = 0; r < kTileRows; ++r) acc[i][r] = dot(w + r, kTileRows, x, args.n_in);
    }
  });
}

void fp8(const MatmulArgs& args) {
  const std::size_t tile_bytes = quant::TileF8::bytes(args.n_in);
  for_tiles(args, [&](std::int64_t tile, std::int64_t first, int count, float(*acc)[kTileRows]) {
    const std::byte* base = args.weights + static_cast<std::size_t>(tile) * tile_bytes;
    for (int i = 0; i < count; ++i) {
      const auto* x = reinterpret_cast<const float*>(act_row(args, first + i));
      for (int r = 0; r < kTileRows; ++r) {
        acc[i][r] = 0;
        for (std::int64_t block = 0; block < args.n_in / quant::TileF8::kColumns; ++block) {
          const float scale = reinterpret_cast<const float*>(base + quant::TileF8::header(block))[r];
          const auto* w = reinterpret_cast<const E4M3*>(base + quant::TileF8::body(block)) + r;
          acc[i][r] =
              std::fma(scale * 256.0f, dot(w, kTileRows, x + block * quant::TileF8::kColumns, quant::TileF8::kColumns),
                       acc[i][r]);
        }
      }
    }
  });
}

template <DType T>
void floats_of(const MatmulArgs& args) {
  if constexpr (T == DType::kF32) {
    floats<float>(args);
  } else if constexpr (T == DType::kF16) {
    floats<F16>(args);
  } else if constexpr (T == DType::kBF16) {
    floats<BF16>(args);
  } else {
    static_assert(T == DType::kF8_E4M3_B128);
    fp8(args);
  }
}

// Rows as in the file, each decoded into the scratch.
void raw(const MatmulArgs& args) {
  const DType dtype = args.layout->dtype;
  const std::size_t tile_bytes = args.layout->tile_bytes(args.n_in), row_bytes = *quant::row_bytes(dtype, args.n_in);
  auto* decoded = reinterpret_cast<float*>(args.scratch);
  for_tiles(args, [&](std::int64_t tile, std::int64_t first, int count, float(*acc)[kTileRows]) {
    for (int r = 0; r < kTileRows; ++r) {
      const std::byte* row =
          args.weights + static_cast<std::size_t>(tile) * tile_bytes + static_cast<std::size_t>(r) * row_bytes;
      quant::decode_row(dtype, row, decoded, args.n_in);
      for (int i = 0; i < count; ++i) {
        acc[i][r] = dot(decoded, 1, reinterpret_cast<const float*>(act_row(args, first + i)), args.n_in);
      }
    }
  });
}

}  // namespace

#define SCALAR(lower, ...)                                                  \
  void gemv_##lower(const MatmulArgs& args) noexcept { __VA_ARGS__(args); } \
  void gemm_##lower(const MatmulArgs& args) noexcept { __VA_ARGS__(args); }
#define BLOCKS(name, lower, ...) SCALAR(lower, blocks<DType::k##name>)
#define FLOATS(name, lower, ...) SCALAR(lower, floats_of<DType::k##name>)
#define RAW(name, lower, ...) SCALAR(lower, raw)
#include "quant/types.inc"

}  // namespace dodeca::cpu::scalar
