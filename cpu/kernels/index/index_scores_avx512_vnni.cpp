// Lanes are heads: two strips of queries times six positions stay in registers, a pair of a key's words is broadcast
// from memory, and the lanes are added up once per position.
#include <immintrin.h>

#include "cpu/kernels/index/index_kernels.hpp"

namespace dodeca::cpu::avx512_vnni {
namespace {

// As an instruction because g++ 12 copies every accumulator of a loop around the intrinsic.
[[gnu::always_inline]] inline __m512i dot(__m512i acc, __m512i a, __m512i b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
  return acc;
}

float sum_pairwise(__m512 lanes) {
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

constexpr int kPositions = 6;

// kStrips strips from `strip` on into the lanes of kCount positions.
template <int kStrips, int kCount>
[[gnu::always_inline]] inline void strips(const IndexScoreArgs& a, const std::byte* strip, const std::byte* keys,
                                          std::int64_t row_bytes, __m512 (&lanes)[kCount]) {
  const std::size_t strip_bytes = index_strip_bytes(a.shape);
  const std::int64_t pairs = a.shape.head_dim / 2;
  __m512i sum[kStrips][kCount];
  for (auto& own : sum) {
    for (__m512i& s : own) s = _mm512_setzero_si512();
  }
  const std::byte* query = strip + 4 * kIndexLanes;
  for (std::int64_t k = 0; k < pairs; ++k, query += 4 * kIndexLanes) {
    __m512i q[kStrips];
    for (int v = 0; v < kStrips; ++v) q[v] = _mm512_load_si512(query + static_cast<std::size_t>(v) * strip_bytes);
    for (int p = 0; p < kCount; ++p) {
      std::int32_t pair;
      __builtin_memcpy(&pair, keys + p * row_bytes + 4 + 4 * k, 4);
      const __m512i key = _mm512_set1_epi32(pair);
      for (int v = 0; v < kStrips; ++v) sum[v][p] = dot(sum[v][p], key, q[v]);
    }
  }
  for (int v = 0; v < kStrips; ++v) {
    const __m512 factors = _mm512_load_ps(strip + static_cast<std::size_t>(v) * strip_bytes);
    for (int p = 0; p < kCount; ++p) {
      const __m512i positive = _mm512_max_epi32(sum[v][p], _mm512_setzero_si512());
      lanes[p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(positive), factors, lanes[p]);
    }
  }
}

template <int kCount>
void tile(const IndexScoreArgs& a, const std::byte* keys, std::int64_t row_bytes, float* scores) {
  __m512 lanes[kCount];
  for (__m512& l : lanes) l = _mm512_setzero_ps();
  const std::size_t strip_bytes = index_strip_bytes(a.shape);
  std::int64_t s = 0;
  for (; s + 2 <= a.shape.strips(); s += 2)
    strips<2>(a, a.queries + static_cast<std::size_t>(s) * strip_bytes, keys, row_bytes, lanes);
  if (s < a.shape.strips()) strips<1>(a, a.queries + static_cast<std::size_t>(s) * strip_bytes, keys, row_bytes, lanes);
  for (int p = 0; p < kCount; ++p) {
    float scale;
    __builtin_memcpy(&scale, keys + p * row_bytes, 4);
    scores[p] = sum_pairwise(lanes[p]) * scale;
  }
}

}  // namespace

void index_scores(const IndexScoreArgs& a) {
  if (a.shape.numbers == IndexNumbers::kFloats) return scalar::index_scores(a);
  const std::int64_t row_bytes = 4 + 2 * a.shape.head_dim;
  std::int64_t i = 0;
  for (; i + kPositions <= a.n; i += kPositions) {
    for (std::int64_t byte = 0; a.ahead != nullptr && byte < kPositions * row_bytes; byte += 64)
      _mm_prefetch(reinterpret_cast<const char*>(a.ahead + i * row_bytes + byte), _MM_HINT_T0);
    tile<kPositions>(a, a.keys + i * row_bytes, row_bytes, a.scores + i);
  }
  for (; i < a.n; ++i) tile<1>(a, a.keys + i * row_bytes, row_bytes, a.scores + i);
}

}  // namespace dodeca::cpu::avx512_vnni
