// Eight lanes (quant/encode/lanes.hpp). Only for files compiled with AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include "quant/encode/lanes.hpp"

namespace dodeca::cpu::avx2 {
namespace {  // and so no template made of it leaves its object file

struct LaneMask {
  __m256 v;
};

struct Lanes {
  static constexpr int kCount = 8;
  __m256 v;

  Lanes() = default;
  DODECA_LANE explicit Lanes(float value) : v(_mm256_set1_ps(value)) {}
  DODECA_LANE explicit Lanes(__m256 value) : v(value) {}
  DODECA_LANE static Lanes load(const float* src) { return Lanes(_mm256_loadu_ps(src)); }
  DODECA_LANE void store(float* dst) const { _mm256_storeu_ps(dst, v); }
  DODECA_LANE void store_codes(std::uint8_t* dst) const {
    const __m256i wide = _mm256_cvttps_epi32(v);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(dst), _mm_packus_epi16(words, words));
  }
  DODECA_LANE static Lanes lookup(const float* table, Lanes index) {
    return Lanes(_mm256_i32gather_ps(table, _mm256_cvttps_epi32(index.v), 4));
  }
  DODECA_LANE static LaneMask mask(unsigned bits) {
    const __m256i lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lanes);
    return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lanes))};
  }
  DODECA_LANE static unsigned bits(LaneMask mask) { return static_cast<unsigned>(_mm256_movemask_ps(mask.v)); }
  DODECA_LANE static void transpose(const float* src, int stride, float* dst) {
    for (int rows = 0; rows < 16; rows += 8) {
      for (int columns = 0; columns < 16; columns += 8) {
        transpose8(src + rows * stride + columns, stride, dst + 16 * columns + rows);
      }
    }
  }

 private:
  DODECA_LANE static void transpose8(const float* src, int stride, float* dst) {
    __m256 a[8], b[8];
    for (int i = 0; i < 4; ++i) {  // a[i]: columns 0-3 of rows i and i + 4, a[i + 4]: columns 4-7
      const __m256 upper = _mm256_loadu_ps(src + i * stride), lower = _mm256_loadu_ps(src + (i + 4) * stride);
      a[i] = _mm256_permute2f128_ps(upper, lower, 0x20);
      a[i + 4] = _mm256_permute2f128_ps(upper, lower, 0x31);
    }
    for (int i = 0; i < 8; i += 2) {
      b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
      b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      _mm256_storeu_ps(dst + 16 * i, _mm256_shuffle_ps(b[i], b[i + 2], 0x44));
      _mm256_storeu_ps(dst + 16 * (i + 1), _mm256_shuffle_ps(b[i], b[i + 2], 0xee));
      _mm256_storeu_ps(dst + 16 * (i + 2), _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44));
      _mm256_storeu_ps(dst + 16 * (i + 3), _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee));
    }
  }
};
DODECA_LANE Lanes operator+(Lanes a, Lanes b) { return Lanes(_mm256_add_ps(a.v, b.v)); }
DODECA_LANE Lanes operator-(Lanes a, Lanes b) { return Lanes(_mm256_sub_ps(a.v, b.v)); }
DODECA_LANE Lanes operator*(Lanes a, Lanes b) { return Lanes(_mm256_mul_ps(a.v, b.v)); }
DODECA_LANE Lanes operator/(Lanes a, Lanes b) { return Lanes(_mm256_div_ps(a.v, b.v)); }
DODECA_LANE Lanes operator-(Lanes a) { return Lanes(_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))); }
DODECA_LANE LaneMask operator<(Lanes a, Lanes b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
DODECA_LANE Lanes fma(Lanes a, Lanes b, Lanes c) { return Lanes(_mm256_fmadd_ps(a.v, b.v, c.v)); }
DODECA_LANE Lanes min(Lanes a, Lanes b) { return Lanes(_mm256_min_ps(a.v, b.v)); }
DODECA_LANE Lanes max(Lanes a, Lanes b) { return Lanes(_mm256_max_ps(a.v, b.v)); }
DODECA_LANE Lanes round(Lanes a) {
  const __m256 shift = _mm256_set1_ps(12582912.0f);
  return Lanes(_mm256_sub_ps(_mm256_add_ps(a.v, shift), shift));
}
DODECA_LANE Lanes select(LaneMask mask, Lanes a, Lanes b) { return Lanes(_mm256_blendv_ps(b.v, a.v, mask.v)); }
DODECA_LANE float least(Lanes a) {
  const __m128 four = _mm_min_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace
}  // namespace dodeca::cpu::avx2
