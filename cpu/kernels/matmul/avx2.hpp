// Vector helpers of the avx2 files. A 64-byte vector of a tile is two registers: rows 0-7 and rows 8-15, half h at byte
// 32h. Products of bytes go through i16 pair sums: |code| * 127 * 2 * (pairs added) must stay within 32767. Internal
// linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cpu/kernels/matmul/block_loops.hpp"

namespace dodeca::cpu::avx2 {
namespace {

DODECA_INLINE __m256i load(const void* at) { return _mm256_load_si256(static_cast<const __m256i*>(at)); }
DODECA_INLINE void store(void* at, __m256i v) { _mm256_store_si256(static_cast<__m256i*>(at), v); }
DODECA_INLINE __m256i bytes(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }
// Four bytes of an activation row (or two sums) in every lane.
DODECA_INLINE __m256i spread(const void* at) {
  std::int32_t four;
  __builtin_memcpy(&four, at, 4);
  return _mm256_set1_epi32(four);
}
DODECA_INLINE __m256i pairs(__m256i codes, __m256i x) { return _mm256_maddubs_epi16(codes, x); }
// The same for signed codes; |code| <= 128 and |x| <= 127.
DODECA_INLINE __m256i signed_pairs(__m256i codes, __m256i x) {
  return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes));
}
DODECA_INLINE __m256i add16(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
// sum + low*low + high*high in every lane.
DODECA_INLINE __m256i dot2(__m256i sum, __m256i a, __m256i b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
DODECA_INLINE __m256i select(__m256i mask, __m256i yes, __m256i no) {
  return _mm256_or_si256(_mm256_and_si256(mask, yes), _mm256_andnot_si256(mask, no));
}
DODECA_INLINE __m256i and_or(__m256i a, __m256i b, __m256i c) { return _mm256_or_si256(_mm256_and_si256(a, b), c); }
// The low (0) or high (1) i16 of every lane in both its halves.
DODECA_INLINE __m256i both_halves(__m256i pair, int which) {
  const __m256i low = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0d0c0d0c09080908, 0x0504050401000100));
  return _mm256_shuffle_epi8(pair, which == 0 ? low : _mm256_add_epi8(low, bytes(2)));
}
// Eight f16 factors of a header: rows 8h to 8h + 7.
DODECA_INLINE __m256 halves(const std::byte* header, int h) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(header + 16 * h)));
}
DODECA_INLINE __m256 to_float(__m256i v) { return _mm256_cvtepi32_ps(v); }

// Eight units of codes, two to a 64-byte vector: nibbles; with a plane of fifth bits (tiles.hpp); with values looked up
// by nibble.
DODECA_INLINE void nibbles(const std::byte* at, __m256i* codes) {
  const __m256i low = bytes(0x0f);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256i v = load(at + 64 * i);
    codes[2 * i] = _mm256_and_si256(v, low);
    codes[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi32(v, 4), low);
  }
}
DODECA_INLINE void fives(const std::byte* plane, const std::byte* at, __m256i* codes) {
  const __m256i high = load(plane);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256i v = load(at + 64 * i);
    const __m256i bits = i < 2 ? _mm256_slli_epi32(high, 3 - 2 * i) : _mm256_srli_epi32(high, 2 * i - 3);
    codes[2 * i] = and_or(v, bytes(0x0f), _mm256_and_si256(bits, bytes(0x10)));
    const __m256i odd = and_or(v, bytes(0xf0), _mm256_and_si256(bits, bytes(0x08)));
    codes[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi32(odd, 3), bytes(0x1f));
  }
}
DODECA_INLINE void looked_up(const std::byte* at, __m256i table, __m256i* codes) {
  nibbles(at, codes);
#pragma GCC unroll 8
  for (int u = 0; u < 8; ++u) codes[u] = _mm256_shuffle_epi8(table, codes[u]);
}

// The register accumulator of one activation row, and the shape of the register blocks.
struct Policy {
  struct Acc {
    __m256 half[2];
  };
  static constexpr int kFewRows = 4, kFetchFrom = 4;
  static constexpr bool kReorders = false;
  static constexpr int kMaxTiles = 1, kMaxColumns = 3;
  DODECA_INLINE static Acc zero() { return {{_mm256_setzero_ps(), _mm256_setzero_ps()}}; }
  DODECA_INLINE static void finish(const Acc& acc, float* results) {
    _mm256_store_ps(results, acc.half[0]);
    _mm256_store_ps(results + 8, acc.half[1]);
  }
};

}  // namespace
}  // namespace dodeca::cpu::avx2
