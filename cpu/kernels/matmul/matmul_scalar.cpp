// The products' definition: plain loops over the tiles, in the order that matmul.hpp fixes. gemm is the same.
#include <cmath>
#include <cstring>

#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/matmul/row_block.hpp"
#include "cpu/kernels/matmul/tiles.hpp"
#include "cpu/kernels/quantize_act/q8_blocks.hpp"
#include "quant/codec.hpp"
#include "quant/float_types.hpp"
#include "quant/iq_grids.hpp"

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
        std::memcpy(args.out + (first + i) * args.out_stride + tile * kTileRows, acc[i],
                    static_cast<std::size_t>(n_rows) * sizeof(float));
      }
    }
  }
}

// ---- integer types

constexpr std::int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr std::int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Types of lattice points: value = unit * (2s + 1) * point, points as small integers; IQ1 in eighths.
template <DType T>
constexpr float kUnit = 0.0f;
template <>
constexpr float kUnit<DType::kIQ1_S> = 0.125f;
template <>
constexpr float kUnit<DType::kIQ1_M> = 0.125f;
template <>
constexpr float kUnit<DType::kIQ2_XXS> = 0.125f;
template <>
constexpr float kUnit<DType::kIQ2_XS> = 0.125f;
template <>
constexpr float kUnit<DType::kIQ2_S> = 0.125f;
template <>
constexpr float kUnit<DType::kIQ3_XXS> = 0.25f;
template <>
constexpr float kUnit<DType::kIQ3_S> = 1.0f;
template <DType T>
constexpr bool kLattice = kUnit<T> != 0.0f;

// Points looked up, with their signs, into the codes (as i8).
template <DType T>
void expand(RowBlock& w) {
  for (int k = 0; k < 256; ++k) {
    const unsigned sign = w.sign[k / 8];
    int value = 0;
    if constexpr (T == DType::kIQ1_S || T == DType::kIQ1_M) {
      value = 8 * quant::kIq1sGrid[w.index[k / 8]][k % 8] + (sign != 0 ? -1 : 1);
    } else {
      if constexpr (T == DType::kIQ2_XXS) value = quant::kIq2xxsGrid[w.index[k / 8]][k % 8];
      if constexpr (T == DType::kIQ2_XS) value = quant::kIq2xsGrid[w.index[k / 8]][k % 8];
      if constexpr (T == DType::kIQ2_S) value = quant::kIq2sGrid[w.index[k / 8]][k % 8];
      if constexpr (T == DType::kIQ3_XXS) value = quant::kIq3xxsGrid[w.index[k / 4]][k % 4];
      if constexpr (T == DType::kIQ3_S) value = quant::kIq3sGrid[w.index[k / 4]][k % 4];
      constexpr bool kWhole = T == DType::kIQ2_S || T == DType::kIQ3_S;  // sign bytes, not indices
      if (((kWhole ? sign : quant::sign_byte(sign)) >> (k % 8)) & 1) value = -value;
    }
    w.code[k] = static_cast<std::uint8_t>(value);
  }
}

template <DType T>
int weight(std::uint8_t code) {
  if constexpr (kLattice<T>) return static_cast<std::int8_t>(code);
  if constexpr (T == DType::kQ3_K) return code - 4;
  if constexpr (T == DType::kQ6_K) return code - 32;
  if constexpr (T == DType::kQ4_0) return code - 8;
  if constexpr (T == DType::kQ5_0) return code - 16;
  if constexpr (T == DType::kQ8_0) return static_cast<std::int8_t>(code);
  if constexpr (T == DType::kIQ4_NL || T == DType::kIQ4_XS) return kIQ4Values[code];
  if constexpr (T == DType::kMXFP4) return kFp4Values[code];
  return code;
}
template <DType T>
int sub_scale(std::uint8_t scale) {
  if constexpr (kLattice<T>) return 2 * scale + 1;
  if constexpr (T == DType::kQ3_K || T == DType::kIQ4_XS) return scale - 32;
  if constexpr (T == DType::kQ6_K) return static_cast<std::int8_t>(scale);
  return scale;
}

template <DType T>
void super_block(const RowBlock& w, const Q8Block256& x, float& acc) {
  constexpr bool kSixteen = T == DType::kQ2_K || T == DType::kQ3_K || T == DType::kQ6_K || T == DType::kIQ1_M ||
                            T == DType::kIQ2_XS || T == DType::kIQ2_S;
  constexpr bool kMinima = T == DType::kQ2_K || T == DType::kQ4_K || T == DType::kQ5_K;
  constexpr int kSub = kSixteen ? 16 : 32;
  std::int32_t isum = 0, msum = 0;
  for (int g = 0; g < 256 / kSub; ++g) {
    std::int32_t dot = 0;
    for (int k = kSub * g; k < kSub * (g + 1); ++k) dot += weight<T>(w.code[k]) * x.q[k];
    isum += sub_scale<T>(w.scale[g]) * dot;
    if constexpr (kMinima) msum += w.min[g] * (kSub == 16 ? x.sums16[g] : x.sums32[g]);
  }
  const float d = quant::f16_to_f32(w.d);
  acc = std::fma((kLattice<T> ? kUnit<T> * d : d) * x.scale, static_cast<float>(isum), acc);
  if constexpr (kMinima) {
    acc = std::fma(-(quant::f16_to_f32(w.m) * x.scale), static_cast<float>(msum), acc);
  }
}

template <DType T>
void small_block(const RowBlock& w, const Q8Block32& x, float& acc) {
  std::int32_t isum = 0;
  for (int k = 0; k < 32; ++k) isum += weight<T>(w.code[k]) * x.q[k];
  const float d = T == DType::kMXFP4 ? quant::e8m0_half_to_f32(static_cast<std::uint8_t>(w.d)) : quant::f16_to_f32(w.d);
  acc = std::fma(d * x.scale, static_cast<float>(isum), acc);
  if constexpr (T == DType::kQ4_1 || T == DType::kQ5_1) {
    acc = std::fma(quant::f16_to_f32(w.m), x.scale * static_cast<float>(x.sum), acc);
  }
}

template <DType T>
void blocks(const MatmulArgs& args) {
  const BlockFormat& format = block_format(T);
  const std::size_t tile_bytes = format.tile_bytes(args.n_in);
  for_tiles(args, [&](std::int64_t tile, std::int64_t first, int count, float(*acc)[kTileRows]) {
    const std::byte* base = args.weights + static_cast<std::size_t>(tile) * tile_bytes;
    RowBlock rows[kTileRows];
    std::memset(acc, 0, sizeof(float) * kTileRows * static_cast<std::size_t>(count));
    for (std::int64_t block = 0; block < args.n_in / format.columns; ++block) {
      format.from_tile(base + format.header(block), base + format.body(block), rows);
      if constexpr (kLattice<T>) {
        for (RowBlock& row : rows) expand<T>(row);
      }
      for (int i = 0; i < count; ++i) {
        const std::byte* act = act_row(args, first + i);
        for (int r = 0; r < kTileRows; ++r) {
          if constexpr (T == DType::kQ2_K || T == DType::kQ3_K || T == DType::kQ4_K || T == DType::kQ5_K ||
                        T == DType::kQ6_K || T == DType::kIQ4_XS || kLattice<T>) {
            super_block<T>(rows[r], reinterpret_cast<const Q8Block256*>(act)[block], acc[i][r]);
          } else {
            small_block<T>(rows[r], reinterpret_cast<const Q8Block32*>(act)[block], acc[i][r]);
          }
        }
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
  const std::size_t tile_bytes = TileF8::bytes(args.n_in);
  for_tiles(args, [&](std::int64_t tile, std::int64_t first, int count, float(*acc)[kTileRows]) {
    const std::byte* base = args.weights + static_cast<std::size_t>(tile) * tile_bytes;
    for (int i = 0; i < count; ++i) {
      const auto* x = reinterpret_cast<const float*>(act_row(args, first + i));
      for (int r = 0; r < kTileRows; ++r) {
        acc[i][r] = 0;
        for (std::int64_t block = 0; block < args.n_in / TileF8::kColumns; ++block) {
          const float scale = reinterpret_cast<const float*>(base + TileF8::header(block))[r];
          const auto* w = reinterpret_cast<const E4M3*>(base + TileF8::body(block)) + r;
          acc[i][r] =
              std::fma(scale * 256.0f, dot(w, kTileRows, x + block * TileF8::kColumns, TileF8::kColumns), acc[i][r]);
        }
      }
    }
  });
}

// Types without a layout of their own: rows as in the file, each decoded into the scratch.
void raw(const MatmulArgs& args) {
  const std::size_t tile_bytes = args.layout->tile_bytes(args.n_in);
  const quant::TypeInfo& info = quant::type_info(args.layout->dtype);
  const auto row_bytes = static_cast<std::size_t>(args.n_in / info.block_elements * info.block_bytes);
  auto* decoded = reinterpret_cast<float*>(args.scratch);
  for_tiles(args, [&](std::int64_t tile, std::int64_t first, int count, float(*acc)[kTileRows]) {
    for (int r = 0; r < kTileRows; ++r) {
      const std::byte* row =
          args.weights + static_cast<std::size_t>(tile) * tile_bytes + static_cast<std::size_t>(r) * row_bytes;
      quant::decode_row(info.dtype, row, decoded, args.n_in);
      for (int i = 0; i < count; ++i) {
        acc[i][r] = dot(decoded, 1, reinterpret_cast<const float*>(act_row(args, first + i)), args.n_in);
      }
    }
  });
}

template <DType T>
void run(const MatmulArgs& args) {
  if constexpr (T == DType::kF32) {
    floats<float>(args);
  } else if constexpr (T == DType::kF16) {
    floats<F16>(args);
  } else if constexpr (T == DType::kBF16) {
    floats<BF16>(args);
  } else if constexpr (T == DType::kF8_E4M3_B128) {
    fp8(args);
  } else if constexpr (T == DType::kQ2_K || T == DType::kQ3_K || T == DType::kQ4_K || T == DType::kQ5_K ||
                       T == DType::kQ6_K || T == DType::kIQ4_XS || T == DType::kQ4_0 || T == DType::kQ4_1 ||
                       T == DType::kQ5_0 || T == DType::kQ5_1 || T == DType::kQ8_0 || T == DType::kIQ4_NL ||
                       T == DType::kMXFP4 || kLattice<T>) {
    blocks<T>(args);
  } else {
    raw(args);
  }
}

}  // namespace

#define KERNEL_scalar(dtype, weights)                                               \
  void gemv_##weights(const MatmulArgs& args) noexcept { run<DType::dtype>(args); } \
  void gemm_##weights(const MatmulArgs& args) noexcept { run<DType::dtype>(args); }
#define KERNEL_avx2(dtype, weights)
#define KERNEL_avx512(dtype, weights)
#define KERNEL_avx512_vnni(dtype, weights)
#define KERNEL(isa, dtype, weights) KERNEL_##isa(dtype, weights)
#include "cpu/kernels/matmul/matmul.inc"

}  // namespace dodeca::cpu::scalar
