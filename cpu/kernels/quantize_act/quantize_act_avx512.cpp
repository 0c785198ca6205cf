#include <immintrin.h>

#include "cpu/kernels/quantize_act/group.hpp"
#include "cpu/kernels/quantize_act/quantize_act_kernels.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu::avx512 {
namespace {

[[gnu::always_inline]] inline float as_float(std::int32_t bits) {
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
}

// Fills q and returns the scale, as the scalar variant.
template <int kN>
[[gnu::always_inline]] inline float quantize(const float* x, std::int8_t* q) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i max = _mm512_setzero_si512();
  for (int i = 0; i < kN; i += 16) {
    max = _mm512_max_epi32(max, _mm512_and_si512(magnitude, _mm512_castps_si512(_mm512_loadu_ps(x + i))));
  }
  const std::int32_t amax_bits = _mm512_reduce_max_epi32(max);
  if (amax_bits < kTinyGroupBits || amax_bits >= kInfinityGroupBits) {
    for (int i = 0; i < kN; i += 32) _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), _mm256_setzero_si256());
    return amax_bits < kTinyGroupBits ? 0.0f : as_float(0x7fc00000);
  }
  const float amax = as_float(amax_bits);
  const __m512 inverse = _mm512_set1_ps(127.0f / amax);
  for (int i = 0; i < kN; i += 16) {
    const __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + i), _mm512_cvtsepi32_epi8(v));
  }
  return amax / 127.0f;
}

// Sums of 4 neighbours: sixteen i32.
[[gnu::always_inline]] inline __m512i sums4(const std::int8_t* q) {
  const __m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1), _mm512_loadu_si512(q));
  return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}

}  // namespace

void quantize_act(ActFormat format, const float* x, std::int64_t n, std::byte* dst) noexcept {
  if (format == ActFormat::kQ8_32) {
    auto* block = reinterpret_cast<Q8Block32*>(dst);
    for (std::int64_t k = 0; k < n; k += 32, ++block) {
      block->scale = quantize<32>(x + k, block->q);
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block->q));
      block->sum = _mm512_reduce_add_epi32(_mm512_cvtepi16_epi32(_mm256_maddubs_epi16(_mm256_set1_epi8(1), v)));
    }
    return;
  }
  auto* block = reinterpret_cast<Q8Block256*>(dst);
  for (std::int64_t k = 0; k < n; k += 256, ++block) {
    block->scale = quantize<256>(x + k, block->q);
    // Every 128-bit lane of a vector of sums4 is one sum of 16: add within lanes, then gather the 16 lanes of four
    // vectors.
    __m512i s[4];
    for (int j = 0; j < 4; ++j) {
      s[j] = sums4(block->q + 64 * j);
      s[j] = _mm512_add_epi32(s[j], _mm512_shuffle_epi32(s[j], _MM_PERM_BADC));
      s[j] = _mm512_add_epi32(s[j], _mm512_shuffle_epi32(s[j], _MM_PERM_CDAB));
    }
    const __m512i pick = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i first = _mm512_castsi512_si256(_mm512_permutex2var_epi32(s[0], pick, s[1]));
    const __m256i second = _mm512_castsi512_si256(_mm512_permutex2var_epi32(s[2], pick, s[3]));
    const __m512i sums16 = _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
    const __m256i words = _mm512_cvtepi32_epi16(sums16);
    _mm256_store_si256(reinterpret_cast<__m256i*>(block->sums16), words);
    const __m256i sums32 = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
    _mm_store_si128(reinterpret_cast<__m128i*>(block->sums32), _mm256_cvtepi32_epi16(sums32));
    block->sum = _mm512_reduce_add_epi32(sums16);
    for (std::byte& b : block->pad) b = std::byte{0};
  }
}

}  // namespace dodeca::cpu::avx512
