// exp (see exp.hpp) of eight floats. For files compiled at the avx2 level.
#pragma once

#include <immintrin.h>

#include "cpu/kernels/exp.hpp"

namespace dodeca::cpu::avx2 {
namespace {

inline __m256 exp_ps(__m256 x) {
  using namespace exp_constants;
  x = _mm256_max_ps(_mm256_set1_ps(kLowest), x);  // second operand wins when one is NaN
  x = _mm256_min_ps(_mm256_set1_ps(kHighest), x);
  const __m256 round = _mm256_set1_ps(kRound);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(kLog2E), round);
  const __m256 n = _mm256_sub_ps(shifted, round);
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2High), x);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2Low), r);
  __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(kC6), r, _mm256_set1_ps(kC5));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kC4));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kC3));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kC2));
  const __m256 e = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
  const __m256i exponent = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(kRoundBits));
  const __m256i half = _mm256_srai_epi32(exponent, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i scale0 = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i scale1 = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(exponent, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(e, _mm256_castsi256_ps(scale0)), _mm256_castsi256_ps(scale1));
}

}  // namespace
}  // namespace dodeca::cpu::avx2
