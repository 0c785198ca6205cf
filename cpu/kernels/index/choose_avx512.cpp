// Sixteen scores at a time. What is kept is compressed in a register and stored whole: compressing stores are slow on
// Zen 4.
#include <immintrin.h>

#include "cpu/kernels/index/choose_kernels.hpp"

namespace dodeca::cpu::avx512 {
namespace {

__m512i keys_of(__m512i bits) {
  return _mm512_xor_si512(bits, _mm512_and_si512(_mm512_srai_epi32(bits, 31), _mm512_set1_epi32(0x7fffffff)));
}

std::int64_t keep(const float* scores, std::int64_t n, std::int32_t least, std::int32_t* keys) noexcept {
  const __m512i lowest = _mm512_set1_epi32(least);
  std::int64_t m = 0;
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 there = n - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
    const __m512i key = keys_of(_mm512_maskz_loadu_epi32(there, scores + i));
    const __mmask16 kept = _mm512_mask_cmpge_epi32_mask(there, key, lowest);
    _mm512_storeu_si512(keys + m, _mm512_maskz_compress_epi32(kept, key));
    m += __builtin_popcount(kept);
  }
  return m;
}

// The lowest n bits that are set.
__mmask16 first_of(__mmask16 mask, std::int64_t n) {
  __mmask16 first = 0;
  for (; n > 0; --n) {
    const auto bit = static_cast<__mmask16>(mask & -mask);
    first = static_cast<__mmask16>(first | bit);
    mask = static_cast<__mmask16>(mask ^ bit);
  }
  return first;
}

void emit(const float* scores, std::int32_t threshold, std::int64_t n_equal, std::int64_t k,
          std::int32_t* indices) noexcept {
  const __m512i limit = _mm512_set1_epi32(threshold), sixteen = _mm512_set1_epi32(16);
  __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (std::int64_t count = 0; count < k; scores += 16, index = _mm512_add_epi32(index, sixteen)) {
    // The last vector may reach beyond the scores, whose end the k-th lies before.
    const __m512i key = keys_of(_mm512_loadu_si512(scores));
    const __mmask16 above = _mm512_cmpgt_epi32_mask(key, limit);
    __mmask16 equal = _mm512_cmpeq_epi32_mask(key, limit);
    if (__builtin_popcount(equal) > n_equal) equal = first_of(equal, n_equal);
    n_equal -= __builtin_popcount(equal);
    const auto taken = static_cast<__mmask16>(above | equal);
    const std::int64_t n = __builtin_popcount(taken), room = k - count;
    const __m512i packed = _mm512_maskz_compress_epi32(taken, index);
    if (room >= 16)
      _mm512_storeu_si512(indices + count, packed);
    else
      _mm512_mask_storeu_epi32(indices + count, static_cast<__mmask16>((1u << (n < room ? n : room)) - 1), packed);
    count += n;
  }
}

}  // namespace

constinit const ChooseSteps kChooseSteps{keep, emit};

}  // namespace dodeca::cpu::avx512
