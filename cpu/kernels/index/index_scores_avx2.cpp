// Lanes are heads: a strip is two vectors, and a pair of a key's words is broadcast from memory.
#include <immintrin.h>

#include "cpu/kernels/index/index_kernels.hpp"

namespace dodeca::cpu::avx2 {
namespace {

constexpr int kPositions = 4;

float sum_pairwise(__m256 low, __m256 high) {
  const __m256 s8 = _mm256_add_ps(low, high);
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

__m256i load(const std::byte* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }

// kCount positions from `keys` on.
template <int kCount>
void tile(const IndexScoreArgs& a, const std::byte* keys, std::int64_t row_bytes, float* scores) {
  const std::size_t strip_bytes = index_strip_bytes(a.shape);
  const std::int64_t pairs = a.shape.head_dim / 2;
  __m256 lanes[kCount][2];
  for (auto& position : lanes) position[0] = position[1] = _mm256_setzero_ps();
  for (std::int64_t s = 0; s < a.shape.strips(); ++s) {
    const std::byte* strip = a.queries + static_cast<std::size_t>(s) * strip_bytes;
    const std::byte* query = strip + 4 * kIndexLanes;
    __m256i sum[kCount][2];
    for (auto& position : sum) position[0] = position[1] = _mm256_setzero_si256();
    for (std::int64_t k = 0; k < pairs; ++k, query += 4 * kIndexLanes) {
      const __m256i low = load(query), high = load(query + 32);
      for (int p = 0; p < kCount; ++p) {
        std::int32_t pair;
        __builtin_memcpy(&pair, keys + p * row_bytes + 4 + 4 * k, 4);
        const __m256i key = _mm256_set1_epi32(pair);
        sum[p][0] = _mm256_add_epi32(sum[p][0], _mm256_madd_epi16(low, key));
        sum[p][1] = _mm256_add_epi32(sum[p][1], _mm256_madd_epi16(high, key));
      }
    }
    for (int half = 0; half < 2; ++half) {
      const __m256 factors = _mm256_load_ps(reinterpret_cast<const float*>(strip) + 8 * half);
      for (int p = 0; p < kCount; ++p) {
        const __m256i positive = _mm256_max_epi32(sum[p][half], _mm256_setzero_si256());
        lanes[p][half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(positive), factors, lanes[p][half]);
      }
    }
  }
  for (int p = 0; p < kCount; ++p) {
    float scale;
    __builtin_memcpy(&scale, keys + p * row_bytes, 4);
    scores[p] = sum_pairwise(lanes[p][0], lanes[p][1]) * scale;
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

}  // namespace dodeca::cpu::avx2
