// The block as two small matrix products: scores in tiles of 2 heads x 3 positions (each 16 lanes = 2 vectors: 12
// accumulators, 10 loads per 12 FMA), values in tiles of 4 heads x 3 vectors. Heads and positions past the end repeat
// the last one; they are not stored, or masked.
#include <immintrin.h>

#include "cpu/kernels/attention/attention_kernels.hpp"
#include "cpu/kernels/exp_avx2.hpp"

namespace dodeca::cpu::avx2 {
namespace {

constexpr int kScoreHeads = 2;
constexpr int kScorePositions = 3;
constexpr int kValueHeads = 4;
constexpr int kValueVectors = 3;
constexpr int kHeadChunk = 8;  // heads per pass over the rows: their queries and one tile of rows fit a 32 KB L1

__m256i mask_of(std::int64_t count) {
  const int lanes = count > 8 ? 8 : static_cast<int>(count);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

unsigned short load_u16(const std::byte* src) {
  unsigned short bits;
  __builtin_memcpy(&bits, src, sizeof bits);
  return bits;
}

float sum_pairwise(__m256 low, __m256 high) {
  const __m256 s8 = _mm256_add_ps(low, high);
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

void score_tile(const float* const* q, const float* const* rows, std::int64_t width, float scale, float* const* out,
                int n_positions) {
  __m256 s[2][kScoreHeads][kScorePositions];
  for (auto& half : s) {
    for (auto& head : half) {
      for (__m256& lanes : head) lanes = _mm256_setzero_ps();
    }
  }
  std::int64_t k = 0;
  for (; k + 16 <= width; k += 16) {
    for (int half = 0; half < 2; ++half) {
      __m256 head[kScoreHeads];
      for (int h = 0; h < kScoreHeads; ++h) head[h] = _mm256_loadu_ps(q[h] + k + 8 * half);
      for (int p = 0; p < kScorePositions; ++p) {
        const __m256 row = _mm256_loadu_ps(rows[p] + k + 8 * half);
        for (int h = 0; h < kScoreHeads; ++h) s[half][h][p] = _mm256_fmadd_ps(head[h], row, s[half][h][p]);
      }
    }
  }
  for (int half = 0; half < 2 && k < width; ++half, k += 8) {
    const __m256i mask = mask_of(width - k);
    for (int p = 0; p < kScorePositions; ++p) {
      const __m256 row = _mm256_maskload_ps(rows[p] + k, mask);
      for (int h = 0; h < kScoreHeads; ++h) {
        s[half][h][p] = _mm256_fmadd_ps(_mm256_maskload_ps(q[h] + k, mask), row, s[half][h][p]);
      }
    }
  }
  for (int h = 0; h < kScoreHeads; ++h) {
    for (int p = 0; p < n_positions; ++p) out[h][p] = sum_pairwise(s[0][h][p], s[1][h][p]) * scale;
  }
}

// Scores to probabilities, in place; returns the correction of what was summed before.
float soften(float* p, std::int64_t n, float* running_max, float* running_sum) {
  const float old_max = *running_max;
  float max = old_max;
  for (std::int64_t i = 0; i < n; ++i) max = p[i] > max ? p[i] : max;
  __m256 lanes[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (std::int64_t i = 0; i < n; i += 8) {
    const __m256i mask = mask_of(n - i);
    const __m256 e = exp_ps(_mm256_sub_ps(_mm256_maskload_ps(p + i, mask), _mm256_set1_ps(max)));
    _mm256_maskstore_ps(p + i, mask, e);
    __m256& lane = lanes[i / 8 % 2];
    lane = _mm256_add_ps(lane, _mm256_and_ps(e, _mm256_castsi256_ps(mask)));
  }
  const __m128 correction = _mm256_castps256_ps128(exp_ps(_mm256_set1_ps(old_max - max)));
  const __m128 block_sum = _mm_set_ss(sum_pairwise(lanes[0], lanes[1]));
  *running_max = max;
  *running_sum = _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(*running_sum), correction, block_sum));
  return _mm_cvtss_f32(correction);
}

// Heads whose values are summed together; past the last one it is repeated and not stored.
struct ValueHeads {
  int n;
  const float* p[kValueHeads];
  float* acc[kValueHeads];
  float correction[kValueHeads];
};

// Vectors [v, v + 8 * V) of up to four heads.
template <int V>
void value_tile(const MlaBlockArgs& a, const ValueHeads& heads, std::int64_t v) {
  __m256 sum[kValueHeads][V];
  for (int h = 0; h < kValueHeads; ++h) {
    for (int i = 0; i < V; ++i) {
      sum[h][i] = _mm256_mul_ps(_mm256_loadu_ps(heads.acc[h] + v + 8 * i), _mm256_set1_ps(heads.correction[h]));
    }
  }
  const float* row = a.value_rows() + v;
  const std::int64_t stride = a.value_stride();
  for (std::int64_t position = 0; position < a.n_positions; ++position, row += stride) {
    __m256 value[V];
    for (int i = 0; i < V; ++i) value[i] = _mm256_loadu_ps(row + 8 * i);
    for (int h = 0; h < kValueHeads; ++h) {
      const __m256 weight = _mm256_set1_ps(heads.p[h][position]);
      for (int i = 0; i < V; ++i) sum[h][i] = _mm256_fmadd_ps(weight, value[i], sum[h][i]);
    }
  }
  for (int h = 0; h < kValueHeads; ++h) {  // a constant count: the sums stay in registers
    if (h >= heads.n) break;
    for (int i = 0; i < V; ++i) _mm256_storeu_ps(heads.acc[h] + v + 8 * i, sum[h][i]);
  }
}

// The last value_width % 8 values.
void value_tail(const MlaBlockArgs& a, const ValueHeads& heads, std::int64_t v) {
  const __m256i mask = mask_of(a.value_width - v);
  for (int h = 0; h < heads.n; ++h) {
    __m256 sum = _mm256_mul_ps(_mm256_maskload_ps(heads.acc[h] + v, mask), _mm256_set1_ps(heads.correction[h]));
    for (std::int64_t i = 0; i < a.n_positions; ++i) {
      sum = _mm256_fmadd_ps(_mm256_set1_ps(heads.p[h][i]),
                            _mm256_maskload_ps(a.value_rows() + i * a.value_stride() + v, mask), sum);
    }
    _mm256_maskstore_ps(heads.acc[h] + v, mask, sum);
  }
}

void heads_block(const MlaBlockArgs& a, std::int64_t begin, std::int64_t end) {
  float correction[kHeadChunk];
  for (std::int64_t p0 = 0; p0 < a.n_positions; p0 += kScorePositions) {
    const std::int64_t left = a.n_positions - p0;
    const float* rows[kScorePositions];
    for (int p = 0; p < kScorePositions; ++p) rows[p] = a.rows + (p < left ? p0 + p : a.n_positions - 1) * a.width;
    for (std::int64_t h0 = begin; h0 < end; h0 += kScoreHeads) {
      const float* q[kScoreHeads];
      float* out[kScoreHeads];
      for (int h = 0; h < kScoreHeads; ++h) {  // a repeated head writes the same scores to the same place
        const std::int64_t head = h0 + h < end ? h0 + h : end - 1;
        q[h] = a.q + head * a.width;
        out[h] = a.scratch + head * kContextBlock + p0;
      }
      score_tile(q, rows, a.width, a.scale, out, static_cast<int>(left < kScorePositions ? left : kScorePositions));
    }
  }
  for (std::int64_t h = begin; h < end; ++h) {
    correction[h - begin] = soften(a.scratch + h * kContextBlock, a.n_positions, a.max + h, a.sum + h);
  }
  for (std::int64_t v = 0; v < a.value_width;) {
    const std::int64_t left = a.value_width - v;
    for (std::int64_t h0 = begin; h0 < end; h0 += kValueHeads) {
      ValueHeads heads;
      heads.n = static_cast<int>(end - h0 < kValueHeads ? end - h0 : kValueHeads);
      for (int h = 0; h < kValueHeads; ++h) {
        const std::int64_t head = h < heads.n ? h0 + h : end - 1;
        heads.p[h] = a.scratch + head * kContextBlock;
        heads.acc[h] = a.acc + head * a.value_width;
        heads.correction[h] = correction[head - begin];
      }
      if (left >= 8 * kValueVectors) {
        value_tile<kValueVectors>(a, heads, v);
      } else if (left >= 8) {
        value_tile<1>(a, heads, v);
      } else {
        value_tail(a, heads, v);
      }
    }
    v += left >= 8 * kValueVectors ? 8 * kValueVectors : 8;
  }
}

void decode_f16(const std::byte* src, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src + 2 * i))));
  }
  for (; i < n; ++i) out[i] = _cvtsh_ss(load_u16(src + 2 * i));
}

void decode_bf16(const std::byte* src, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src + 2 * i)));
    _mm256_storeu_ps(out + i, _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
  }
  for (; i < n; ++i) {
    const unsigned bits = static_cast<unsigned>(load_u16(src + 2 * i)) << 16;
    __builtin_memcpy(out + i, &bits, sizeof bits);
  }
}

// Blocks of {f16 scale; 32 x int8}.
void decode_q8_0(const std::byte* src, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; i += 32, src += 34) {
    const __m256 scale = _mm256_set1_ps(_cvtsh_ss(load_u16(src)));
    for (int j = 0; j < 32; j += 8) {
      const __m128i q = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(src + 2 + j));
      _mm256_storeu_ps(out + i + j, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q))));
    }
  }
}

}  // namespace

void mla_block(const MlaBlockArgs& a) noexcept {
  for (std::int64_t head = 0; head < a.n_heads; head += kHeadChunk) {
    heads_block(a, head, head + kHeadChunk < a.n_heads ? head + kHeadChunk : a.n_heads);
  }
}

void decode_cache_rows(const CacheRows& from, float* out) noexcept {
  const std::byte* row = from.rows;
  for (std::int64_t i = 0; i < from.n; ++i, row += from.row_bytes, out += from.width) {
    switch (from.dtype) {
      case quant::DType::kF16:
        decode_f16(row, from.width, out);
        break;
      case quant::DType::kBF16:
        decode_bf16(row, from.width, out);
        break;
      case quant::DType::kQ8_0:
        decode_q8_0(row, from.width, out);
        break;
      default:  // F32
        __builtin_memcpy(out, row, static_cast<std::size_t>(from.width) * sizeof(float));
    }
  }
}

}  // namespace dodeca::cpu::avx2
