// exp (see exp.hpp) of sixteen floats. For files compiled at the avx512 level.
#pragma once

#include <immintrin.h>

#include "cpu/kernels/exp.hpp"

namespace dodeca::cpu::avx512 {
namespace {

// For x that is not above kHighest.
inline __m512 exp_up_to_highest(__m512 x) {
  using namespace exp_constants;
  x = _mm512_max_ps(_mm512_set1_ps(kLowest), x);  // second operand wins when one is NaN
  const __m512 round = _mm512_set1_ps(kRound);
  const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(kLog2E), round);
  const __m512 n = _mm512_sub_ps(shifted, round);
  __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2High), x);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2Low), r);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(kC6), r, _mm512_set1_ps(kC5));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kC4));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kC3));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kC2));
  const __m512 e = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(e, n);  // one rounding, as the scalar product of two exact halves
}

inline __m512 exp_ps(__m512 x) { return exp_up_to_highest(_mm512_min_ps(_mm512_set1_ps(exp_constants::kHighest), x)); }

}  // namespace
}  // namespace dodeca::cpu::avx512
