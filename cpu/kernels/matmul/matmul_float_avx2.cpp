// Products with F32, F16, BF16 and FP8 weights: one lane per row, four partial sums by column mod 4 (matmul.hpp).
#include "cpu/kernels/matmul/avx2.hpp"
#include "cpu/kernels/matmul/matmul_kernels.hpp"

namespace dodeca::cpu::avx2 {
namespace {

// Weights of eight rows of one column.
struct F32 {
  static constexpr int kBytes = 4;
  DODECA_INLINE static __m256 load(const std::byte* at) { return _mm256_load_ps(reinterpret_cast<const float*>(at)); }
};
struct F16 {
  static constexpr int kBytes = 2;
  DODECA_INLINE static __m256 load(const std::byte* at) { return halves(at, 0); }
};
struct BF16 {
  static constexpr int kBytes = 2;
  DODECA_INLINE static __m256 load(const std::byte* at) {
    const __m256i bits = _mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(at)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
  }
};
// E4M3 bits moved into an f16: 2^-8 times the value.
struct E4M3 {
  static constexpr int kBytes = 1;
  DODECA_INLINE static __m256 load(const std::byte* at) {
    const __m128i code = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)));
    return _mm256_cvtph_ps(_mm_and_si128(_mm_slli_epi16(code, 7), _mm_set1_epi16(static_cast<short>(0xbf80))));
  }
};

// The four partial sums of columns [0, n) of C activation rows, added up; kHalves times eight rows. kFetch: the weights
// come from memory.
template <class Word, int kHalves, int C, bool kFetch>
DODECA_INLINE void dot(const std::byte* w, const float* const* x, std::int64_t n, __m256 (&result)[C][kHalves]) {
  constexpr int kColumnBytes = kTileRows * Word::kBytes;
  __m256 sum[4][C][kHalves];
  for (int j = 0; j < 4; ++j) {
    for (int c = 0; c < C; ++c) {
      for (int h = 0; h < kHalves; ++h) sum[j][c][h] = _mm256_setzero_ps();
    }
  }
  const auto column = [&](std::int64_t k, int j) __attribute__((always_inline)) {
    const std::byte* at = w + (k + j) * kColumnBytes;
    __m256 weight[kHalves];
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) weight[h] = Word::load(at + 8 * Word::kBytes * h);
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) {
      const __m256 four = _mm256_set1_ps(x[c][k + j]);
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) sum[j][c][h] = _mm256_fmadd_ps(weight[h], four, sum[j][c][h]);
    }
  };
  std::int64_t k = 0;
  for (; k + 4 <= n; k += 4) {
    if constexpr (kFetch) {
#pragma GCC unroll 4
      for (int line = 0; line < 4 * kColumnBytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(w + k * kColumnBytes + 4096 + line), _MM_HINT_T0);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) column(k, j);
  }
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    if (k + j < n) column(k, j);
  }
  for (int c = 0; c < C; ++c) {
    for (int h = 0; h < kHalves; ++h) {
      result[c][h] =
          _mm256_add_ps(_mm256_add_ps(sum[0][c][h], sum[1][c][h]), _mm256_add_ps(sum[2][c][h], sum[3][c][h]));
    }
  }
}

template <class Word_>
struct Plain {
  using Word = Word_;
  DODECA_INLINE static std::size_t tile_bytes(std::int64_t n_in) {
    return (static_cast<std::size_t>(n_in) * kTileRows * Word::kBytes + 63) / 64 * 64;
  }
  // w: the tile, at the first of the rows asked for.
  template <int kHalves, int C, bool kFetch>
  DODECA_INLINE static void product(const std::byte* w, int, const float* const* x, std::int64_t n_in,
                                    __m256 (&acc)[C][kHalves]) {
    dot<Word, kHalves, C, kFetch>(w, x, n_in, acc);
  }
};
struct Scaled128 {
  using Word = E4M3;
  DODECA_INLINE static std::size_t tile_bytes(std::int64_t n_in) { return quant::TileF8::bytes(n_in); }
  template <int kHalves, int C, bool kFetch>
  DODECA_INLINE static void product(const std::byte* w, int first_row, const float* const* x, std::int64_t n_in,
                                    __m256 (&acc)[C][kHalves]) {
    for (int c = 0; c < C; ++c) {
      for (int h = 0; h < kHalves; ++h) acc[c][h] = _mm256_setzero_ps();
    }
    for (std::int64_t block = 0; block < n_in / quant::TileF8::kColumns; ++block) {
      const float* at[C];
      for (int c = 0; c < C; ++c) at[c] = x[c] + block * quant::TileF8::kColumns;
      __m256 sum[C][kHalves];
      dot<E4M3, kHalves, C, kFetch>(w + quant::TileF8::body(block), at, quant::TileF8::kColumns, sum);
      const auto* scales = reinterpret_cast<const float*>(w - first_row + quant::TileF8::header(block)) + first_row;
      for (int h = 0; h < kHalves; ++h) {
        const __m256 scale = _mm256_mul_ps(_mm256_load_ps(scales + 8 * h), _mm256_set1_ps(256.0f));
        for (int c = 0; c < C; ++c) acc[c][h] = _mm256_fmadd_ps(scale, sum[c][h], acc[c][h]);
      }
    }
  }
};

// One activation row takes both halves of a tile in one pass; more take them one after the other, for the registers.
template <class Format, int C, bool kFetch>
[[gnu::noinline]] void columns(const MatmulArgs& args, std::int64_t tile, std::int64_t first) {
  constexpr int kHalves = C == 1 ? 2 : 1;
  const float* x[C];
  for (int c = 0; c < C; ++c) x[c] = act_row<float>(args, first + c);
  alignas(32) float results[C][kTileRows];
  const std::byte* w = args.weights + static_cast<std::size_t>(tile) * Format::tile_bytes(args.n_in);
  for (int row = 0; row < kTileRows; row += 8 * kHalves) {
    __m256 acc[C][kHalves];
    Format::template product<kHalves, C, kFetch>(w + Format::Word::kBytes * row, row, x, args.n_in, acc);
    for (int c = 0; c < C; ++c) {
      for (int h = 0; h < kHalves; ++h) _mm256_store_ps(results[c] + row + 8 * h, acc[c][h]);
    }
  }
  for (int c = 0; c < C; ++c) store_rows(args, tile, first + c, results[c]);
}

template <class Format, bool kFetch>
DODECA_INLINE std::int64_t some_columns(const MatmulArgs& args, std::int64_t tile, std::int64_t first) {
  const std::int64_t n = args.n_acts - first;
  const auto run = [&]<int C>() {
    columns<Format, C, kFetch>(args, tile, first);
    return std::int64_t{C};
  };
  if (n >= 3 && n != 4) return run.template operator()<3>();
  return n >= 2 ? run.template operator()<2>() : run.template operator()<1>();
}

// The first rows bring a tile near for all others.
template <class Format>
DODECA_INLINE void run(const MatmulArgs& args) {
  if (args.n_acts == 0) return;
  for (std::int64_t tile = args.tile_begin; tile < args.tile_end; ++tile) {
    std::int64_t i = some_columns<Format, true>(args, tile, 0);
    while (i < args.n_acts) i += some_columns<Format, false>(args, tile, i);
  }
}

}  // namespace

void gemv_f32(const MatmulArgs& args) noexcept { run<Plain<F32>>(args); }
void gemv_f16(const MatmulArgs& args) noexcept { run<Plain<F16>>(args); }
void gemv_bf16(const MatmulArgs& args) noexcept { run<Plain<BF16>>(args); }
void gemv_f8_e4m3_b128(const MatmulArgs& args) noexcept { run<Scaled128>(args); }
void gemm_f32(const MatmulArgs& args) noexcept { run<Plain<F32>>(args); }
void gemm_f16(const MatmulArgs& args) noexcept { run<Plain<F16>>(args); }
void gemm_bf16(const MatmulArgs& args) noexcept { run<Plain<BF16>>(args); }
void gemm_f8_e4m3_b128(const MatmulArgs& args) noexcept { run<Scaled128>(args); }

}  // namespace dodeca::cpu::avx2
