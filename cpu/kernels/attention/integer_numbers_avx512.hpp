// Floats to the numbers of integer attention, sixteen at a time: groups, rows of several blocks, sixteen lanes of queries
// at once, rows of a cache. Internal linkage throughout.
#pragma once

#include <immintrin.h>

#include <bit>

#include "cpu/kernels/attention/integer_chunk.hpp"
#include "cpu/kernels/attention/words.hpp"

namespace dodeca::cpu {
namespace {

inline __mmask16 mask_of(std::int64_t count) {
  return count >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << count) - 1u);
}

// Of sixteen numbers at a time: magnitudes as integers, and the sum of squares of words.hpp.
struct Extent {
  __m512i max = _mm512_setzero_si512();
  __m512 squares = _mm512_setzero_ps();

  void add(__m512 x) {
    max = _mm512_max_epi32(max, _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
    squares = _mm512_fmadd_ps(x, x, squares);
  }
  std::int32_t amax_bits() const { return _mm512_reduce_max_epi32(max); }
  float sum() const {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(squares), _mm512_extractf32x8_ps(squares, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
};

inline Extent extent_of(const float* x, std::int64_t n) {
  Extent extent;
  for (std::int64_t i = 0; i < n; i += 16) extent.add(_mm512_maskz_loadu_ps(mask_of(n - i), x + i));
  return extent;
}

// 16 numbers of a group; zeros where the factor is (the product with an infinity would be NaN).
inline __m512i numbers(const float* x, const GroupScale& group, __mmask16 mask) {
  if (group.factor == 0.0f) return _mm512_setzero_si512();
  return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x), _mm512_set1_ps(group.factor)));
}

inline float to_bytes(const float* x, std::int64_t n, std::int8_t* q) {
  const GroupScale group = group_scale(extent_of(x, n).amax_bits(), kByteTop);
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = mask_of(n - i);
    _mm_mask_storeu_epi8(q + i, mask, _mm512_cvtepi32_epi8(numbers(x + i, group, mask)));
  }
  return group.scale;
}

// Whole vectors without masks: Zen does not forward what was stored with one to the loads that follow.
inline float to_words(const float* x, std::int64_t n, const GroupScale& group, std::int16_t* q) {
  const __m512 factor = _mm512_set1_ps(group.factor);
  std::int64_t i = 0;
  for (; group.factor != 0.0f && i + 16 <= n; i += 16) {
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), factor));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), _mm512_cvtepi32_epi16(rounded));
  }
  for (; i < n; i += 16) {
    const __mmask16 mask = mask_of(n - i);
    _mm256_mask_storeu_epi16(q + i, mask, _mm512_cvtepi32_epi16(numbers(x + i, group, mask)));
  }
  return group.scale;
}

// The extent of a row whose blocks have norms of their own: the largest of each.
struct RowExtent {
  Extent max;  // its squares are not used
  float squares = 0.0f;

  void add(const Extent& block) {
    const float own = block.sum();
    max.max = _mm512_max_epi32(max.max, block.max);
    squares = own > squares ? own : squares;
  }
  std::int32_t amax_bits() const { return max.amax_bits(); }
};

inline float key_words(const float* x, std::int64_t n, std::int16_t* q) {
  RowExtent row;
  for (std::int64_t k = 0; k < n; k += kKeyBlock) row.add(extent_of(x + k, min64(kKeyBlock, n - k)));
  return to_words(x, n, word_scale(row.amax_bits(), row.squares), q);
}

// In place: column j of sixteen rows of dwords becomes row j.
inline void transpose(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512i even04 = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88),
                  odd04 = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    const __m512i even8c = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88),
                  odd8c = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    t[i] = _mm512_shuffle_i32x4(even04, even8c, 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(odd04, odd8c, 0x88);
    t[i + 8] = _mm512_shuffle_i32x4(even04, even8c, 0xdd);
    t[i + 12] = _mm512_shuffle_i32x4(odd04, odd8c, 0xdd);
  }
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

// Sixteen rows of n dwords, `stride` dwords apart, into [dword][16 lanes].
inline void interleave_lanes(const std::int32_t* rows, std::int64_t n, std::int64_t stride, std::int32_t* out) {
  for (std::int64_t k = 0; k < n; k += 16) {
    __m512i r[16];
    const __mmask16 mask = mask_of(n - k);
    for (int lane = 0; lane < 16; ++lane) r[lane] = _mm512_maskz_loadu_epi32(mask, rows + lane * stride + k);
    transpose(r);
    for (int j = 0; j < 16 && k + j < n; ++j) _mm512_storeu_si512(out + (k + j) * 16, r[j]);
  }
}

// Sixteen rows of sums, each the lanes of words.hpp: all of them combined, a lane for each row.
inline __m512 sum_of_lanes(__m512i* rows) {
  transpose(rows);
  __m512 sum[16];
  for (int i = 0; i < 16; ++i) sum[i] = _mm512_castsi512_ps(rows[i]);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sum[i] = _mm512_add_ps(sum[i], sum[i + half]);
  }
  return sum[0];
}

// word_top() and group_scale() of sixteen groups.
inline __m512 word_tops(__m512i amax_bits, __m512 squares) {
  const __mmask16 told = _mm512_cmpge_epi32_mask(amax_bits, _mm512_set1_epi32(kLeastSquareBits)) &
                         _mm512_cmple_epi32_mask(amax_bits, _mm512_set1_epi32(kMostSquareBits));
  const __m512 by_norm =
      _mm512_div_ps(_mm512_mul_ps(_mm512_set1_ps(kBlockNorm), _mm512_castsi512_ps(amax_bits)), _mm512_sqrt_ps(squares));
  return _mm512_mask_min_ps(_mm512_set1_ps(kTopWithoutNorm), told, by_norm, _mm512_set1_ps(kMostWord));
}

struct LaneScales {
  __m512 scale, factor;
};
inline LaneScales scales_of(__m512i amax_bits, __m512 tops) {
  const __m512 amax = _mm512_castsi512_ps(amax_bits);
  const __mmask16 finite = _mm512_cmplt_epi32_mask(amax_bits, _mm512_set1_epi32(kInfinityGroupBits)),
                  used = finite & _mm512_cmpge_epi32_mask(amax_bits, _mm512_set1_epi32(kTinyGroupBits));
  const __m512 nan = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));
  return {_mm512_mask_mov_ps(_mm512_maskz_div_ps(used, amax, tops), _mm512_knot(finite), nan),
          _mm512_maskz_div_ps(used, tops, amax)};
}

// Numbers [i, i + 16) of a cache row.
template <quant::DType kType>
[[gnu::always_inline]] inline __m512 cached_floats(const std::byte* row, std::int64_t i) {
  if constexpr (kType == quant::DType::kQ8_0) {
    const std::byte* block = row + i / 32 * 34;
    std::int16_t half;
    __builtin_memcpy(&half, block, 2);
    const __m512 scale = _mm512_set1_ps(_cvtsh_ss(static_cast<unsigned short>(half)));
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 2 + i % 32));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), scale);
  } else {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * i));
    if constexpr (kType == quant::DType::kF16)
      return _mm512_cvtph_ps(half);
    else
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
}

// A group of n numbers from each of up to sixteen rows.
struct LaneGroups {
  const float* const* rows;
  std::int64_t lanes, n;
};

// The groups of sixteen lanes at once: no reduction and no division per lane. Lanes without a row give zeros.
inline void quantize_lanes(LaneGroups from, bool words, float scale, float* scales, std::int16_t (*out)[kKeyBlock]) {
  const auto [rows, lanes, n] = from;
  __m512i max[16], squares[16];
  for (std::int64_t lane = 0; lane < 16; ++lane) {
    const Extent extent = lane < lanes ? extent_of(rows[lane], n) : Extent();
    max[lane] = extent.max;
    squares[lane] = _mm512_castps_si512(extent.squares);
  }
  transpose(max);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) max[i] = _mm512_max_epi32(max[i], max[i + half]);
  }
  const LaneScales group =
      scales_of(max[0], words ? word_tops(max[0], sum_of_lanes(squares)) : _mm512_set1_ps(kByteTop));
  _mm512_store_ps(scales, _mm512_mul_ps(_mm512_set1_ps(scale), group.scale));
  alignas(64) float factor[16];
  _mm512_store_ps(factor, group.factor);
  for (std::int64_t lane = 0; lane < 16; ++lane) {
    const bool zero = factor[lane] == 0.0f;
    auto* bytes = reinterpret_cast<std::int8_t*>(out[lane]);
    for (std::int64_t i = 0; i < n; i += 16) {
      const __mmask16 mask = zero ? static_cast<__mmask16>(0) : mask_of(n - i);
      const __m512 x = mask == 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, rows[lane] + i);
      const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(factor[lane])));
      if (words)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out[lane] + i), _mm512_cvtepi32_epi16(q));
      else
        _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + i), _mm512_cvtepi32_epi8(q));
    }
  }
}

// Numbers [k, k + n) of a cache row; n and k are multiples of 32 in rows of Q8_0.
inline void to_floats(quant::DType dtype, const std::byte* row, std::int64_t k, std::int64_t n, float* out) {
  if (dtype == quant::DType::kQ8_0) {
    constexpr std::int64_t kBlock = 32, kBlockBytes = 34;
    for (const std::byte* block = row + k / kBlock * kBlockBytes; n > 0; n -= kBlock, block += kBlockBytes) {
      std::int16_t half;
      __builtin_memcpy(&half, block, 2);
      const __m512 scale = _mm512_set1_ps(_cvtsh_ss(static_cast<unsigned short>(half)));
      for (std::int64_t i = 0; i < kBlock; i += 16, out += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 2 + i));
        _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), scale));
      }
    }
    return;
  }
  const auto widen = [dtype](__m256i half) {
    return dtype == quant::DType::kF16 ? _mm512_cvtph_ps(half)
                                       : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  };
  std::int64_t i = 0;
  // Whole vectors without masks: Zen does not forward what was stored with one to the loads that follow.
  for (; i + 16 <= n; i += 16) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * (k + i)));
    _mm512_storeu_ps(out + i, widen(half));
  }
  if (i < n) {
    const __mmask16 mask = mask_of(n - i);
    _mm512_mask_storeu_ps(out + i, mask, widen(_mm256_maskz_loadu_epi16(mask, row + 2 * (k + i))));
  }
}

// A part of a cache row as words: the extent first. Wide ones are decoded twice, in blocks. Returns the largest as a float.
inline float cached_words(const RowPart& from, std::int16_t* q, float* scale) {
  const auto [dtype, row, begin, n, block] = from;
  alignas(64) float floats[kDecodedOnce];
  RowExtent extent;
  if (n <= kDecodedOnce) {
    to_floats(dtype, row, begin, n, floats);
    for (std::int64_t k = 0; k < n; k += block) extent.add(extent_of(floats + k, min64(block, n - k)));
    const GroupScale group = word_scale(extent.amax_bits(), extent.squares);
    *scale = to_words(floats, n, group, q);
    return std::bit_cast<float>(extent.amax_bits());
  }
  for (std::int64_t k = 0; k < n; k += block) {
    const std::int64_t width = min64(block, n - k);
    to_floats(dtype, row, begin + k, width, floats);
    extent.add(extent_of(floats, width));
  }
  const std::int32_t amax_bits = extent.amax_bits();
  const GroupScale group = word_scale(amax_bits, extent.squares);
  for (std::int64_t k = 0; k < n; k += block) {
    const std::int64_t width = min64(block, n - k);
    to_floats(dtype, row, begin + k, width, floats);
    to_words(floats, width, group, q + k);
  }
  *scale = group.scale;
  return std::bit_cast<float>(amax_bits);
}

}  // namespace
}  // namespace dodeca::cpu
