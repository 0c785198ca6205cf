// Products with F32, F16, BF16 and FP8 weights: one lane per row, four partial sums by column mod 4 (matmul.hpp).
#include <immintrin.h>

#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "quant/formats/formats.hpp"

#define DODECA_INLINE [[gnu::always_inline]] inline

namespace dodeca::cpu::avx512 {
namespace {

constexpr int kMaxColumns = 6;  // activation rows per pass: 24 partial sums

DODECA_INLINE const float* act_row(const MatmulArgs& args, std::int64_t i) {
  const std::int64_t row = args.act_rows == nullptr ? i : args.act_rows[i];
  return reinterpret_cast<const float*>(args.acts + static_cast<std::size_t>(row) * args.act_stride);
}

struct F32 {
  static constexpr int kBytes = 4;
  DODECA_INLINE static __m512 load(const std::byte* at) { return _mm512_load_ps(at); }
};
struct F16 {
  static constexpr int kBytes = 2;
  DODECA_INLINE static __m512 load(const std::byte* at) {
    return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(at)));
  }
};
struct BF16 {
  static constexpr int kBytes = 2;
  DODECA_INLINE static __m512 load(const std::byte* at) {
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(at)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
  }
};
// E4M3 bits moved into an f16: 2^-8 times the value.
struct E4M3 {
  static constexpr int kBytes = 1;
  DODECA_INLINE static __m512 load(const std::byte* at) {
    const __m256i code = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(at)));
    const __m256i bits = _mm256_and_si256(_mm256_slli_epi16(code, 7), _mm256_set1_epi16(static_cast<short>(0xbf80)));
    return _mm512_cvtph_ps(bits);
  }
};

// The four partial sums of columns [0, n) of C activation rows, added up. kFetch: the weights come from memory.
template <class Word, int C, bool kFetch>
DODECA_INLINE void dot(const std::byte* w, const float* const* x, std::int64_t n, __m512* result) {
  __m512 sum[4][C];
  for (int j = 0; j < 4; ++j) {
    for (int c = 0; c < C; ++c) sum[j][c] = _mm512_setzero_ps();
  }
  constexpr int kStep = kTileRows * Word::kBytes;
  std::int64_t k = 0;
  for (; k + 4 <= n; k += 4, w += 4 * kStep) {
    if constexpr (kFetch) {
#pragma GCC unroll 4
      for (int line = 0; line < 4 * kStep; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(w + 4096 + line), _MM_HINT_T0);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512 weight = Word::load(w + j * kStep);
#pragma GCC unroll 6
      for (int c = 0; c < C; ++c) sum[j][c] = _mm512_fmadd_ps(weight, _mm512_set1_ps(x[c][k + j]), sum[j][c]);
    }
  }
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    if (k + j < n) {
      const __m512 weight = Word::load(w + j * kStep);
#pragma GCC unroll 6
      for (int c = 0; c < C; ++c) sum[j][c] = _mm512_fmadd_ps(weight, _mm512_set1_ps(x[c][k + j]), sum[j][c]);
    }
  }
#pragma GCC unroll 6
  for (int c = 0; c < C; ++c) {
    result[c] = _mm512_add_ps(_mm512_add_ps(sum[0][c], sum[1][c]), _mm512_add_ps(sum[2][c], sum[3][c]));
  }
}

template <class Word>
struct Plain {
  DODECA_INLINE static std::size_t tile_bytes(std::int64_t n_in) {
    return (static_cast<std::size_t>(n_in) * kTileRows * Word::kBytes + 63) / 64 * 64;
  }
  template <int C, bool kFetch>
  DODECA_INLINE static void product(const std::byte* tile, const float* const* x, std::int64_t n_in, __m512* acc) {
    dot<Word, C, kFetch>(tile, x, n_in, acc);
  }
};
struct Scaled128 {
  DODECA_INLINE static std::size_t tile_bytes(std::int64_t n_in) { return quant::TileF8::bytes(n_in); }
  template <int C, bool kFetch>
  DODECA_INLINE static void product(const std::byte* tile, const float* const* x, std::int64_t n_in, __m512* acc) {
    for (int c = 0; c < C; ++c) acc[c] = _mm512_setzero_ps();
    for (std::int64_t block = 0; block < n_in / quant::TileF8::kColumns; ++block) {
      const float* at[C];
      for (int c = 0; c < C; ++c) at[c] = x[c] + block * quant::TileF8::kColumns;
      const __m512 scale = _mm512_mul_ps(_mm512_load_ps(tile + quant::TileF8::header(block)), _mm512_set1_ps(256.0f));
      __m512 sum[C];
      dot<E4M3, C, kFetch>(tile + quant::TileF8::body(block), at, quant::TileF8::kColumns, sum);
      for (int c = 0; c < C; ++c) acc[c] = _mm512_fmadd_ps(scale, sum[c], acc[c]);
    }
  }
};

template <class Format, int C, bool kFetch>
[[gnu::noinline]] void columns(const MatmulArgs& args, std::int64_t tile, std::int64_t first) {
  const float* x[C];
  for (int c = 0; c < C; ++c) x[c] = act_row(args, first + c);
  __m512 acc[C];
  Format::template product<C, kFetch>(args.weights + static_cast<std::size_t>(tile) * Format::tile_bytes(args.n_in), x,
                                      args.n_in, acc);
  const std::int64_t left = args.n_out - tile * kTileRows;
  const __mmask16 mask = left >= kTileRows ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
  for (int c = 0; c < C; ++c) {
    float* out = args.out + (first + c) * args.out_stride + tile * kTileRows;
    if (args.accumulate) acc[c] = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out), acc[c]);
    _mm512_mask_storeu_ps(out, mask, acc[c]);
  }
}

template <class Format, bool kFetch>
DODECA_INLINE std::int64_t some_columns(const MatmulArgs& args, std::int64_t tile, std::int64_t first) {
  const std::int64_t n = args.n_acts - first;
  const auto run = [&]<int C>() {
    columns<Format, C, kFetch>(args, tile, first);
    return std::int64_t{C};
  };
  if (n >= kMaxColumns) return run.template operator()<kMaxColumns>();
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

}  // namespace dodeca::cpu::avx512
