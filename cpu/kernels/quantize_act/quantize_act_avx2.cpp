#include <immintrin.h>

#include "cpu/kernels/quantize_act/group.hpp"
#include "cpu/kernels/quantize_act/quantize_act_kernels.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu::avx2 {
namespace {

[[gnu::always_inline]] inline std::int32_t max_of(__m256i v) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return _mm_cvtsi128_si32(m);
}

[[gnu::always_inline]] inline float as_float(std::int32_t bits) {
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
}

// Fills q and returns the scale, as the scalar variant.
template <int kN>
[[gnu::always_inline]] inline float quantize(const float* x, std::int8_t* q) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i max = _mm256_setzero_si256();
  for (int i = 0; i < kN; i += 8) {
    max = _mm256_max_epi32(max, _mm256_and_si256(magnitude, _mm256_castps_si256(_mm256_loadu_ps(x + i))));
  }
  const std::int32_t amax_bits = max_of(max);
  if (amax_bits < kTinyGroupBits || amax_bits >= kInfinityGroupBits) {
    for (int i = 0; i < kN; i += 32) _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), _mm256_setzero_si256());
    return amax_bits < kTinyGroupBits ? 0.0f : as_float(0x7fc00000);
  }
  const float amax = as_float(amax_bits);
  const __m256 inverse = _mm256_set1_ps(127.0f / amax);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // undoes the lane-wise packs
  for (int i = 0; i < kN; i += 32) {
    __m256i v[4];
    for (int j = 0; j < 4; ++j) v[j] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8 * j), inverse));
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), _mm256_permutevar8x32_epi32(packed, order));
  }
  return amax / 127.0f;
}

// Sums of 4 neighbours: eight i32.
[[gnu::always_inline]] inline __m256i sums4(const std::int8_t* q) {
  const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q));
  return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), v), _mm256_set1_epi16(1));
}

[[gnu::always_inline]] inline std::int32_t sum_of(__m128i v) {
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
  return _mm_cvtsi128_si32(v);
}

}  // namespace

void quantize_act(ActFormat format, const float* x, std::int64_t n, std::byte* dst) noexcept {
  if (format == ActFormat::kQ8_32) {
    auto* block = reinterpret_cast<Q8Block32*>(dst);
    for (std::int64_t k = 0; k < n; k += 32, ++block) {
      block->scale = quantize<32>(x + k, block->q);
      const __m256i s = sums4(block->q);
      block->sum = sum_of(_mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1)));
    }
    return;
  }
  auto* block = reinterpret_cast<Q8Block256*>(dst);
  for (std::int64_t k = 0; k < n; k += 256, ++block) {
    block->scale = quantize<256>(x + k, block->q);
    block->sum = 0;
    for (int j = 0; j < 8; ++j) {
      const __m256i s = sums4(block->q + 32 * j);
      const std::int32_t low = sum_of(_mm256_castsi256_si128(s)), high = sum_of(_mm256_extracti128_si256(s, 1));
      block->sums16[2 * j] = static_cast<std::int16_t>(low);
      block->sums16[2 * j + 1] = static_cast<std::int16_t>(high);
      block->sums32[j] = static_cast<std::int16_t>(low + high);
      block->sum += low + high;
    }
    for (std::byte& b : block->pad) b = std::byte{0};
  }
}

}  // namespace dodeca::cpu::avx2
