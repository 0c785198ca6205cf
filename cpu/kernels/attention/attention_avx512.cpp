// The block as two small matrix products, 4 heads at a time: scores in tiles of 4 heads x 4 positions (16 accumulators
// hide the latency of FMA on two ports, 8 loads per 16 FMA), values in tiles of 4 heads x 4 vectors. Heads past the end
// repeat the last one and are not stored; positions past the end repeat the last one and their scores are masked.
#include <immintrin.h>

#include "cpu/kernels/attention/attention_kernels.hpp"
#include "cpu/kernels/attention/fetch_ahead.hpp"
#include "cpu/kernels/exp_avx512.hpp"

namespace dodeca::cpu::avx512 {
namespace {

constexpr int kHeads = 4;      // of a tile
constexpr int kPositions = 4;  // of a score tile
constexpr int kVectors = 4;    // of a value tile
constexpr int kHeadChunk = 8;  // heads per pass over the rows: their queries and one tile of rows fit a 32 KB L1

__mmask16 mask_of(std::int64_t count) {
  return count >= 16  ? static_cast<__mmask16>(0xffff)
         : count <= 0 ? static_cast<__mmask16>(0)
                      : static_cast<__mmask16>((1u << count) - 1u);
}

// s[4 p + h], h and p in 0..3: sixteen vectors; lane 4 h + p of the result is the pairwise sum of s[4 p + h].
__m512 sum_sixteen(const __m512* s) {
  __m512 eight[8], four[4], two[2];
  for (int i = 0; i < 8; ++i) {
    eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(s[2 * i], s[2 * i + 1], 0x44),
                             _mm512_shuffle_f32x4(s[2 * i], s[2 * i + 1], 0xee));
  }
  for (int i = 0; i < 4; ++i) {
    four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(eight[2 * i], eight[2 * i + 1], 0x88),
                            _mm512_shuffle_f32x4(eight[2 * i], eight[2 * i + 1], 0xdd));
  }
  for (int i = 0; i < 2; ++i) {
    two[i] = _mm512_add_ps(_mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0x44),
                           _mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0xee));
  }
  return _mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x88), _mm512_shuffle_ps(two[0], two[1], 0xdd));
}

float sum_pairwise(__m512 s) {
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

void score_tile(const float* const* q, const float* const* rows, std::int64_t width, float scale, float* const* out) {
  __m512 s[kHeads * kPositions];
  for (__m512& lane : s) lane = _mm512_setzero_ps();
  std::int64_t k = 0;
  for (; k + 16 <= width; k += 16) {
    __m512 head[kHeads];
    for (int h = 0; h < kHeads; ++h) head[h] = _mm512_loadu_ps(q[h] + k);
    for (int p = 0; p < kPositions; ++p) {
      const __m512 row = _mm512_loadu_ps(rows[p] + k);
      for (int h = 0; h < kHeads; ++h) s[4 * p + h] = _mm512_fmadd_ps(head[h], row, s[4 * p + h]);
    }
  }
  if (k < width) {
    const __mmask16 mask = mask_of(width - k);
    for (int p = 0; p < kPositions; ++p) {
      const __m512 row = _mm512_maskz_loadu_ps(mask, rows[p] + k);
      for (int h = 0; h < kHeads; ++h) {
        s[4 * p + h] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, q[h] + k), row, s[4 * p + h]);
      }
    }
  }
  const __m512 sums = _mm512_mul_ps(sum_sixteen(s), _mm512_set1_ps(scale));
  _mm_storeu_ps(out[0], _mm512_castps512_ps128(sums));
  _mm_storeu_ps(out[1], _mm512_extractf32x4_ps(sums, 1));
  _mm_storeu_ps(out[2], _mm512_extractf32x4_ps(sums, 2));
  _mm_storeu_ps(out[3], _mm512_extractf32x4_ps(sums, 3));
}

// Scores to probabilities, in place; returns the correction of what was summed before.
float soften(float* p, std::int64_t n, float* running_max, float* running_sum) {
  const float old_max = *running_max;
  __m512 max16 = _mm512_set1_ps(old_max);
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = mask_of(n - i);
    max16 = _mm512_mask_max_ps(max16, mask, _mm512_maskz_loadu_ps(mask, p + i), max16);
  }
  const float max = _mm512_reduce_max_ps(max16);
  __m512 sum16 = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = mask_of(n - i);
    const __m512 e = exp_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, p + i), _mm512_set1_ps(max)));
    _mm512_mask_storeu_ps(p + i, mask, e);
    sum16 = _mm512_mask_add_ps(sum16, mask, sum16, e);
  }
  const __m128 correction = _mm512_castps512_ps128(exp_ps(_mm512_set1_ps(old_max - max)));
  *running_max = max;
  *running_sum = _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(*running_sum), correction, _mm_set_ss(sum_pairwise(sum16))));
  return _mm_cvtss_f32(correction);
}

// Heads whose values are summed together; past the last one it is repeated and not stored.
struct ValueHeads {
  int n;
  const float* p[kHeads];
  float* acc[kHeads];
  float correction[kHeads];
};

// Vectors [v, v + 16 * V) of up to four heads; the last vector may be partial.
template <int V>
void value_tile(const MlaBlockArgs& a, const ValueHeads& heads, std::int64_t v, __mmask16 last) {
  __m512 sum[kHeads][V];
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < V; ++i) {
      const __mmask16 mask = i == V - 1 ? last : static_cast<__mmask16>(0xffff);
      sum[h][i] =
          _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, heads.acc[h] + v + 16 * i), _mm512_set1_ps(heads.correction[h]));
    }
  }
  const float* row = a.value_rows() + v;
  const std::int64_t stride = a.value_stride();
  for (std::int64_t position = 0; position < a.n_positions; ++position, row += stride) {
    __m512 value[V];
    for (int i = 0; i < V - 1; ++i) value[i] = _mm512_loadu_ps(row + 16 * i);
    value[V - 1] = _mm512_maskz_loadu_ps(last, row + 16 * (V - 1));
    for (int h = 0; h < kHeads; ++h) {
      const __m512 weight = _mm512_set1_ps(heads.p[h][position]);
      for (int i = 0; i < V; ++i) sum[h][i] = _mm512_fmadd_ps(weight, value[i], sum[h][i]);
    }
  }
  for (int h = 0; h < kHeads; ++h) {  // a constant count: the sums stay in registers
    if (h >= heads.n) break;
    for (int i = 0; i < V; ++i) {
      _mm512_mask_storeu_ps(heads.acc[h] + v + 16 * i, i == V - 1 ? last : static_cast<__mmask16>(0xffff), sum[h][i]);
    }
  }
}

void heads_block(const MlaBlockArgs& a, std::int64_t begin, std::int64_t end, FetchAhead& ahead) {
  float correction[kHeadChunk];
  for (std::int64_t p0 = 0; p0 < a.n_positions; p0 += kPositions) {
    const float* rows[kPositions];
    for (int p = 0; p < kPositions; ++p) {
      rows[p] = a.rows + (p0 + p < a.n_positions ? p0 + p : a.n_positions - 1) * a.width;
    }
    for (std::int64_t h0 = begin; h0 < end; h0 += kHeads) {
      const float* q[kHeads];
      float* out[kHeads];
      float spare[kPositions];
      for (int h = 0; h < kHeads; ++h) {
        q[h] = a.q + (h0 + h < end ? h0 + h : end - 1) * a.width;
        out[h] = h0 + h < end ? a.scratch + (h0 + h) * kContextBlock + p0 : spare;
      }
      score_tile(q, rows, a.width, a.scale, out);
    }
    ahead.step();
  }
  for (std::int64_t h = begin; h < end; ++h) {
    correction[h - begin] = soften(a.scratch + h * kContextBlock, a.n_positions, a.max + h, a.sum + h);
  }
  for (std::int64_t v = 0; v < a.value_width;) {
    const std::int64_t left = a.value_width - v;
    const bool full = left >= 16 * kVectors;
    for (std::int64_t h0 = begin; h0 < end; h0 += kHeads) {
      ValueHeads heads;
      heads.n = static_cast<int>(end - h0 < kHeads ? end - h0 : kHeads);
      for (int h = 0; h < kHeads; ++h) {
        const std::int64_t head = h < heads.n ? h0 + h : end - 1;
        heads.p[h] = a.scratch + head * kContextBlock;
        heads.acc[h] = a.acc + head * a.value_width;
        heads.correction[h] = correction[head - begin];
      }
      if (full) {
        value_tile<kVectors>(a, heads, v, static_cast<__mmask16>(0xffff));
      } else {
        value_tile<1>(a, heads, v, mask_of(left));
      }
    }
    v += full ? 16 * kVectors : 16;
  }
}

// Whole vectors without masks: Zen does not forward what was stored with one to the loads that follow.
void decode_f16(const std::byte* src, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + 2 * i))));
  for (; i < n; i += 16) {
    const __mmask16 mask = mask_of(n - i);
    const __m256i half = _mm256_maskz_loadu_epi16(mask, src + 2 * i);
    _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(half));
  }
}

void decode_bf16(const std::byte* src, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + 2 * i)));
    _mm512_storeu_ps(out + i, _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)));
  }
  for (; i < n; i += 16) {
    const __mmask16 mask = mask_of(n - i);
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, src + 2 * i));
    _mm512_mask_storeu_ps(out + i, mask, _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)));
  }
}

// Blocks of {f16 scale; 32 x int8}.
void decode_q8_0(const std::byte* src, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; i += 32, src += 34) {
    unsigned short bits;
    __builtin_memcpy(&bits, src, 2);
    const __m512 scale = _mm512_set1_ps(_cvtsh_ss(bits));
    for (int j = 0; j < 32; j += 16) {
      const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + 2 + j));
      _mm512_storeu_ps(out + i + j, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q))));
    }
  }
}

}  // namespace

void mla_block(const MlaBlockArgs& a) noexcept {
  const std::int64_t passes = (a.n_heads + kHeadChunk - 1) / kHeadChunk;
  FetchAhead ahead(a.ahead, a.n_ahead, a.ahead_bytes, passes * ((a.n_positions + kPositions - 1) / kPositions));
  for (std::int64_t head = 0; head < a.n_heads; head += kHeadChunk) {
    heads_block(a, head, head + kHeadChunk < a.n_heads ? head + kHeadChunk : a.n_heads, ahead);
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

}  // namespace dodeca::cpu::avx512
