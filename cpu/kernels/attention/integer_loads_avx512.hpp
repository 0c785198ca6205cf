// How chunks of keys and values are loaded for integer attention with AVX-512; the layouts are those of
// integer_avx512_vnni.cpp. Internal linkage throughout.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "cpu/kernels/attention/integer_numbers_avx512.hpp"

namespace dodeca::cpu {
namespace {

constexpr int kTileValues = 64;
using Chunk = ChunkOf<std::byte, std::byte>;

// Signed bytes to bytes biased by 128.
inline void bias(const std::byte* from, std::int64_t n, std::byte* to) {
  for (std::int64_t i = 0; i < n; i += 64) {
    const __mmask64 mask = n - i >= 64 ? ~0ull : (1ull << (n - i)) - 1;
    const __m512i bytes = _mm512_maskz_loadu_epi8(mask, from + i);
    _mm512_mask_storeu_epi8(to + i, mask, _mm512_xor_si512(bytes, _mm512_set1_epi8(-128)));
  }
}

// 64 values of 4 rows of bytes into 64 dwords. Lane j of unpacked vector i holds values 16 j + 4 i.
inline void interleave4(const __m512i* row, std::byte* out) {
  const __m512i t0 = _mm512_unpacklo_epi8(row[0], row[1]), t1 = _mm512_unpackhi_epi8(row[0], row[1]);
  const __m512i t2 = _mm512_unpacklo_epi8(row[2], row[3]), t3 = _mm512_unpackhi_epi8(row[2], row[3]);
  const __m512i u0 = _mm512_unpacklo_epi16(t0, t2), u1 = _mm512_unpackhi_epi16(t0, t2);
  const __m512i u2 = _mm512_unpacklo_epi16(t1, t3), u3 = _mm512_unpackhi_epi16(t1, t3);
  const __m512i low01 = _mm512_shuffle_i32x4(u0, u1, 0x44), high01 = _mm512_shuffle_i32x4(u0, u1, 0xee);
  const __m512i low23 = _mm512_shuffle_i32x4(u2, u3, 0x44), high23 = _mm512_shuffle_i32x4(u2, u3, 0xee);
  _mm512_storeu_si512(out, _mm512_shuffle_i32x4(low01, low23, 0x88));
  _mm512_storeu_si512(out + 64, _mm512_shuffle_i32x4(low01, low23, 0xdd));
  _mm512_storeu_si512(out + 128, _mm512_shuffle_i32x4(high01, high23, 0x88));
  _mm512_storeu_si512(out + 192, _mm512_shuffle_i32x4(high01, high23, 0xdd));
}

// 32 values of 2 rows of words into 32 dwords.
inline void interleave2(__m512i row0, __m512i row1, std::byte* out) {
  const __m512i low = _mm512_unpacklo_epi16(row0, row1), high = _mm512_unpackhi_epi16(row0, row1);
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
                second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  _mm512_storeu_si512(out, _mm512_permutex2var_epi64(low, first, high));
  _mm512_storeu_si512(out + 64, _mm512_permutex2var_epi64(low, second, high));
}

// kRowsAtOnce rows of numbers, `stride` bytes apart, into the layout of the values from their place on; the first n are
// there, the others get weights of 0. `flip` takes a bias off.
inline void interleave_values(const std::byte* rows, std::int64_t stride, const IntegerShape& s, std::int64_t n,
                              __m512i flip, std::byte* out) {
  const bool wide = s.value_digits == Digits::k16;
  const std::int64_t size = wide ? 2 : 1, together = wide ? 2 : 4;
  const auto part = [&](std::int64_t row, std::int64_t v, std::int64_t width) {
    const std::byte* at = rows + row * stride + v * size;
    if (row < n && width * size >= 64) return _mm512_xor_si512(_mm512_loadu_si512(at), flip);
    const __mmask64 mask = row >= n || width <= 0 ? 0 : (1ull << width * size) - 1;
    return _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, at), flip);
  };
  for (std::int64_t v = 0; v < s.value; v += kTileValues) {
    const std::int64_t width = min64(kTileValues, s.value - v);
    std::byte* to = out + v * 4 * (kChunkPositions / together);
    for (std::int64_t i = 0; i < kRowsAtOnce; i += together, to += kTileValues * 4) {
      if (wide) {
        interleave2(part(i, v, width), part(i + 1, v, width), to);
        interleave2(part(i, v + 32, width - 32), part(i + 1, v + 32, width - 32), to + 128);
      } else {
        const __m512i row[] = {part(i, v, width), part(i + 1, v, width), part(i + 2, v, width), part(i + 3, v, width)};
        interleave4(row, to);
      }
    }
  }
}

// make(i) for each of n rows, whose numbers go to `rows`, `stride` bytes apart; then their copy in the layout of the
// values, up to a whole weight block, while they are still in L1.
template <class Make>
void make_rows(const IntegerShape& s, std::int64_t n, const std::byte* rows, std::int64_t stride, __m512i flip,
               std::byte* values, Make&& make) {
  const std::int64_t padded = (n + kWeightBlock - 1) / kWeightBlock * kWeightBlock,
                     together = s.value_digits == Digits::k16 ? 2 : 4;
  for (std::int64_t first = 0; first < padded; first += kRowsAtOnce) {
    const std::int64_t end = min64(n, first + kRowsAtOnce);
    for (std::int64_t i = first; i < end; ++i) make(i);
    interleave_values(rows + first * stride, stride, s, end - first, flip, values + first / together * kTileValues * 4);
  }
}

inline void load_cache(const LoadCacheArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  const Chunk to(s, a.chunk);
  const bool wide = s.digits == Digits::k16;
  const std::int64_t key_bytes = wide ? 2 * s.key : s.key;
  const auto make = [&](std::int64_t i) {
    const std::byte* row = cached_row(a.blocks, a.row_bytes, i);
    std::byte* key = to.keys + i * key_bytes;
    std::int16_t* rope = to.rope + i * s.rope;
    if (!wide) {
      __builtin_memcpy(to.key_scale + i, row, 4);
      __builtin_memcpy(to.rope_scale + i, row + 4, 4);
      bias(row + 8, key_bytes, key);
      std::memcpy(rope, row + 8 + key_bytes, static_cast<std::size_t>(2 * s.rope));
    } else {
      auto* words = reinterpret_cast<std::int16_t*>(key);
      to.value_reach[i] = cached_words({a.dtype, row, 0, s.key, kKeyBlock}, words, to.key_scale + i);
      cached_words({a.dtype, row, s.key, s.rope, kRopeBlock}, rope, to.rope_scale + i);
    }
    to.value_scale[i] = to.key_scale[i];
  };
  make_rows(s, a.n, to.keys, key_bytes, wide ? _mm512_setzero_si512() : _mm512_set1_epi8(-128), to.values, make);
}

inline void load_head(const LoadHeadArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  const Chunk to(s, a.chunk), from(a.rope_shape, a.rope_from);
  const bool wide = s.digits == Digits::k16;
  const std::int64_t value_bytes = wide ? 2 * s.value : s.value;
  // Quantized values wait where the keys will be.
  const auto make = [&](std::int64_t i) {
    const float* values = a.values + i * a.stride;
    std::byte* q = to.keys + i * value_bytes;
    if (wide) {
      const GroupScale group = group_scale(extent_of(values, s.value).amax_bits(), kValueTop);
      to.value_scale[i] = to_words(values, s.value, group, reinterpret_cast<std::int16_t*>(q));
      to.value_reach[i] = to.value_scale[i] * kValueTop;
    } else {
      to.value_scale[i] = to_bytes(values, s.value, reinterpret_cast<std::int8_t*>(q));
    }
  };
  make_rows(s, a.n, to.keys, value_bytes, _mm512_setzero_si512(), to.values, make);
  for (std::int64_t i = 0; i < a.n; ++i) {
    const float* keys = a.keys + i * a.stride;
    std::byte* q = to.keys + i * s.key * (wide ? 2 : 1);
    if (wide) {
      to.key_scale[i] = key_words(keys, s.key, reinterpret_cast<std::int16_t*>(q));
    } else {
      to.key_scale[i] = to_bytes(keys, s.key, reinterpret_cast<std::int8_t*>(q));
      bias(q, s.key, q);
    }
  }
  std::memcpy(to.rope_scale, from.rope_scale, static_cast<std::size_t>(a.n) * sizeof(float));
  std::memcpy(to.rope, from.rope, static_cast<std::size_t>(2 * a.n * s.rope));
}

// Rows of a cache whose sixteen groups become words at once: what each is multiplied with, and its scale.
struct Groups {
  alignas(64) float factor[kRowsAtOnce], scale[kRowsAtOnce], largest[kRowsAtOnce];
};

// kNorms: with the norms of blocks of words.hpp; else the largest becomes kValueTop.
template <bool kNorms, quant::DType kType>
[[gnu::always_inline]] inline void find_groups(const std::byte* const* rows, std::int64_t n, Groups& out) {
  __m512i max[16];
  __m512 squares = _mm512_setzero_ps();  // the largest of a block, a lane for each row
  for (__m512i& m : max) m = _mm512_setzero_si512();
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  for (std::int64_t k = 0; k < n; k += kKeyBlock) {
    const std::int64_t end = min64(n, k + kKeyBlock);
    __m512i sum[16];
    for (int r = 0; r < 16; ++r) {
      __m512 square = _mm512_setzero_ps();
      for (std::int64_t i = k; i < end; i += 16) {
        const __m512 x = cached_floats<kType>(rows[r], i);
        max[r] = _mm512_max_epi32(max[r], _mm512_and_si512(_mm512_castps_si512(x), magnitude));
        if constexpr (kNorms) square = _mm512_fmadd_ps(x, x, square);
      }
      sum[r] = _mm512_castps_si512(square);
    }
    if constexpr (kNorms) squares = _mm512_max_ps(sum_of_lanes(sum), squares);
  }
  transpose(max);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) max[i] = _mm512_max_epi32(max[i], max[i + half]);
  }
  const LaneScales scales = scales_of(max[0], kNorms ? word_tops(max[0], squares) : _mm512_set1_ps(kValueTop));
  _mm512_store_ps(out.factor, scales.factor);
  _mm512_store_ps(out.scale, scales.scale);
  _mm512_store_ps(out.largest, _mm512_castsi512_ps(max[0]));
}

// A row that is decoded soon: rows are looked at sixteen at a time and then decoded, and memory would rest meanwhile.
inline void fetch_row(const std::byte* const* blocks, std::size_t row_bytes, std::int64_t i, std::int64_t n) {
  if (i >= n) return;
  const std::byte* row = cached_row(blocks, row_bytes, i);
  for (std::size_t at = 0; at < row_bytes; at += 64) _mm_prefetch(reinterpret_cast<const char*>(row) + at, _MM_HINT_T0);
}

// A factor of 0 stands for zeros, whatever the row holds.
template <quant::DType kType>
[[gnu::always_inline]] inline __m512i cached_numbers(const std::byte* row, std::int64_t i, __m512 factor,
                                                     __mmask16 used) {
  return _mm512_maskz_cvtps_epi32(used, _mm512_mul_ps(cached_floats<kType>(row, i), factor));
}

template <quant::DType kType>
void load_key_words(const LoadRowsArgs& a, const Chunk& to) {
  const std::int64_t n = a.shape.key;
  for (std::int64_t first = 0; first < a.n; first += kRowsAtOnce) {
    const std::byte* rows[kRowsAtOnce];
    const std::int64_t count = min64(kRowsAtOnce, a.n - first);
    for (std::int64_t r = 0; r < kRowsAtOnce; ++r)
      rows[r] = cached_row(a.keys, a.key_bytes, first + min64(r, count - 1));
    Groups groups;
    find_groups<true, kType>(rows, n, groups);
    std::memcpy(to.key_scale + first, groups.scale, sizeof groups.scale);
    for (std::int64_t r = 0; r < count; ++r) {
      if (first + kRowsAtOnce < a.n)
        fetch_row(a.keys, a.key_bytes, first + kRowsAtOnce + r, a.n);
      else
        fetch_row(a.values, a.value_bytes, r, a.n);
      std::byte* q = to.keys + (first + r) * 2 * n;
      const __m512 factor = _mm512_set1_ps(groups.factor[r]);
      const __mmask16 used = groups.factor[r] == 0.0f ? 0 : 0xffff;
      for (std::int64_t i = 0; i < n; i += 16) {
        const __m512i words = cached_numbers<kType>(rows[r], i, factor, used);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + 2 * i), _mm512_cvtepi32_epi16(words));
      }
    }
  }
}

// Straight into the layout of the values: a dword is a number of one position and, above it, of the next.
template <quant::DType kType>
void load_value_words(const LoadRowsArgs& a, const Chunk& to) {
  const std::int64_t n = a.shape.value, padded = (a.n + kWeightBlock - 1) / kWeightBlock * kWeightBlock;
  for (std::int64_t first = 0; first < padded; first += kRowsAtOnce) {
    const std::byte* rows[kRowsAtOnce];
    const std::int64_t count = min64(kRowsAtOnce, a.n - first);
    Groups groups = {};
    if (count > 0) {
      for (std::int64_t r = 0; r < kRowsAtOnce; ++r)
        rows[r] = cached_row(a.values, a.value_bytes, first + min64(r, count - 1));
      find_groups<false, kType>(rows, n, groups);
      std::memcpy(to.value_scale + first, groups.scale, sizeof groups.scale);
      std::memcpy(to.value_reach + first, groups.largest, sizeof groups.largest);
    }
    for (std::int64_t r = 0; r < kRowsAtOnce; r += 2) {
      for (std::int64_t i = r; i < r + 2; ++i) fetch_row(a.values, a.value_bytes, first + kRowsAtOnce + i, a.n);
      std::byte* out = to.values + (first + r) / 2 * kTileValues * 4;
      const __m512 low = _mm512_set1_ps(groups.factor[r]), high = _mm512_set1_ps(groups.factor[r + 1]);
      const __mmask16 use_low = r < count && groups.factor[r] != 0.0f ? 0xffff : 0,
                      use_high = r + 1 < count && groups.factor[r + 1] != 0.0f ? 0xffff : 0;
      for (std::int64_t v = 0; v < n; v += 16) {
        const __m512i q0 = count > 0 ? cached_numbers<kType>(rows[r], v, low, use_low) : _mm512_setzero_si512(),
                      q1 = count > 0 ? cached_numbers<kType>(rows[r + 1], v, high, use_high) : _mm512_setzero_si512();
        _mm512_store_si512(out + v / kTileValues * kTileValues * 4 * (kChunkPositions / 2) + v % kTileValues * 4,
                           _mm512_mask_mov_epi16(_mm512_slli_epi32(q1, 16), 0x55555555, q0));
      }
    }
  }
}

template <quant::DType kType>
void load_rows_of(const LoadRowsArgs& a, const Chunk& to, bool keys) {
  keys ? load_key_words<kType>(a, to) : load_value_words<kType>(a, to);
}

inline void load_words(quant::DType dtype, const LoadRowsArgs& a, const Chunk& to, bool keys) {
  if (dtype == quant::DType::kF16)
    load_rows_of<quant::DType::kF16>(a, to, keys);
  else if (dtype == quant::DType::kBF16)
    load_rows_of<quant::DType::kBF16>(a, to, keys);
  else
    load_rows_of<quant::DType::kQ8_0>(a, to, keys);
}

// Rows of bytes are taken as they lie.
inline void load_key_bytes(const LoadRowsArgs& a, const Chunk& to) {
  for (std::int64_t i = 0; i < a.n; ++i) {
    const std::byte* row = cached_row(a.keys, a.key_bytes, i);
    fetch_row(a.keys, a.key_bytes, i + kRowsAtOnce, a.n);
    fetch_row(a.values, a.value_bytes, i, a.n);
    __builtin_memcpy(to.key_scale + i, row, 4);
    bias(row + 8, a.shape.key, to.keys + i * a.shape.key);
  }
}
inline void load_value_bytes(const LoadRowsArgs& a, const Chunk& to) {
  for (std::int64_t i = 0; i < a.n; ++i)
    __builtin_memcpy(to.value_scale + i, cached_row(a.values, a.value_bytes, i), 4);
  const std::int64_t padded = (a.n + kWeightBlock - 1) / kWeightBlock * kWeightBlock;
  for (std::int64_t first = 0; first < padded; first += kRowsAtOnce) {
    const std::int64_t count = first < a.n ? min64(kRowsAtOnce, a.n - first) : 0;
    const std::byte* rows = count > 0 ? cached_row(a.values, a.value_bytes, first) + 8 : nullptr;
    interleave_values(rows, static_cast<std::int64_t>(a.value_bytes), a.shape, count, _mm512_setzero_si512(),
                      to.values + first / 4 * kTileValues * 4);
  }
}

inline void load_rows(const LoadRowsArgs& a) noexcept {
  const Chunk to(a.shape, a.chunk);
  if (a.shape.digits == Digits::k16)
    load_words(a.key_dtype, a, to, true);
  else
    load_key_bytes(a, to);
  if (a.shape.value_digits == Digits::k16)
    load_words(a.value_dtype, a, to, false);
  else
    load_value_bytes(a, to);
}

}  // namespace
}  // namespace dodeca::cpu
