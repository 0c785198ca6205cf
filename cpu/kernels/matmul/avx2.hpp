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

// Eight units of codes, two to a 64-byte vector (quant/layout/tile_codes.hpp): nibbles; with a plane of fifth bits; with
// values looked up by nibble.
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
// Four units of three bits: units 4e to 4e + 3 of eight (quant/layout/tile_codes.hpp).
DODECA_INLINE void threes(const std::byte* at, int e, __m256i* codes) {
  const __m256i a = load(at), b = load(at + 64), seven = bytes(0x07);
  const auto two = [&](__m256i v, __m256i* out) {
    out[0] = _mm256_and_si256(v, seven);
    out[1] = _mm256_and_si256(_mm256_srli_epi32(v, 3), seven);
  };
  if (e == 0) {
    two(a, codes);
    two(b, codes + 2);
  } else {
    const __m256i c = load(at + 128), low = bytes(0x03), third = bytes(0x04);
    two(c, codes);
    codes[2] = and_or(_mm256_srli_epi32(a, 6), low, _mm256_and_si256(_mm256_srli_epi32(c, 4), third));
    codes[3] = and_or(_mm256_srli_epi32(b, 6), low, _mm256_and_si256(_mm256_srli_epi32(c, 5), third));
  }
}
// Four units of six bits.
DODECA_INLINE void sixes(const std::byte* at, __m256i* codes) {
  const __m256i plane = load(at), a = load(at + 64), b = load(at + 128);
  const __m256i low = bytes(0x0f), high = bytes(0xf0), top2 = bytes(0x30), last2 = bytes(0x0c), six = bytes(0x3f);
  codes[0] = and_or(a, low, _mm256_and_si256(_mm256_slli_epi32(plane, 4), top2));
  codes[1] = _mm256_and_si256(_mm256_srli_epi32(and_or(a, high, _mm256_and_si256(plane, last2)), 2), six);
  codes[2] = and_or(b, low, _mm256_and_si256(plane, top2));
  codes[3] = _mm256_and_si256(
      _mm256_srli_epi32(and_or(b, high, _mm256_and_si256(_mm256_srli_epi32(plane, 4), last2)), 2), six);
}
// Sixteen bytes in both halves of a register.
DODECA_INLINE __m256i table16(const void* at) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(static_cast<const __m128i*>(at)));
}
DODECA_INLINE void looked_up(const std::byte* at, __m256i table, __m256i* codes) {
  nibbles(at, codes);
#pragma GCC unroll 8
  for (int u = 0; u < 8; ++u) codes[u] = _mm256_shuffle_epi8(table, codes[u]);
}

// How a tile's codes are multiplied with many activation rows: vpmaddubsw takes an unsigned and a signed operand.
enum class Codes {
  kUnsigned,    // with the activations
  kSigned,      // with the activations plus 128
  kMagnitudes,  // with the activations xored to the bytes, ones or zeros, that lie 64 bytes behind the magnitudes
};
// Bytes of a unit.
constexpr int unit_bytes(Codes codes) { return codes == Codes::kMagnitudes ? 128 : 64; }

// Both halves of a tile's codes times C activation rows. Written as instructions because g++ 12 moves the loads up and then
// spills a third of what it computes. A step takes a unit, %[a] and %[b], and its four columns of row x, and adds to %[p]
// and %[q] of that row: pair sums as words, or these times the scales of the halves, %[s] and %[r].
#define DODECA_SPREAD(x) "vpbroadcastd 4*dodeca_k(%[" x "]), %[t]\n\t"
#define DODECA_UNSIGNED(codes, x, to) "vpmaddubsw " x ", " codes ", " to "\n\t"
#define DODECA_SIGNED(codes, x, to) "vpmaddubsw " codes ", " x ", " to "\n\t"
#define DODECA_TIMES(times) times("%[a]", "%[t]", "%[u]") times("%[b]", "%[t]", "%[t]")
#define DODECA_TIMES_SIGNS                                                                                  \
  "vpxor 128*dodeca_k+64(%[w]), %[t], %[u]\n\tvpxor 128*dodeca_k+96(%[w]), %[t], %[t]\n\t" DODECA_UNSIGNED( \
      "%[a]", "%[u]", "%[u]") DODECA_UNSIGNED("%[b]", "%[t]", "%[t]")
#define DODECA_ADD(add, p, q) add " %[u], %[" p "], %[" p "]\n\t" add " %[t], %[" q "], %[" q "]\n\t"
#define DODECA_ADD_SCALED(p, q) "vpmaddwd %[u], %[s], %[u]\n\tvpmaddwd %[t], %[r], %[t]\n\t" DODECA_ADD("vpaddd", p, q)
// Steps for one row.
#define DODECA_FIRST(times, x, p, q) \
  "vpbroadcastd (%[" x "]), %[t]\n\t" times("%[a]", "%[t]", "%[" p "]") times("%[b]", "%[t]", "%[" q "]")
#define DODECA_NEXT(times, x, p, q) DODECA_SPREAD(x) DODECA_TIMES(times) DODECA_ADD("vpaddw", p, q)
#define DODECA_SCALED(times, x, p, q) DODECA_SPREAD(x) DODECA_TIMES(times) DODECA_ADD_SCALED(p, q)
#define DODECA_SCALED_SIGNS(times, x, p, q) DODECA_SPREAD(x) DODECA_TIMES_SIGNS DODECA_ADD_SCALED(p, q)
// The same for 1, 2 or 3 rows.
#define DODECA_ROWS1(step, times) step(times, "x0", "p0", "q0")
#define DODECA_ROWS2(step, times) DODECA_ROWS1(step, times) step(times, "x1", "p1", "q1")
#define DODECA_ROWS3(step, times) DODECA_ROWS2(step, times) step(times, "x2", "p2", "q2")
#define DODECA_LOAD "vmovdqa %c[size]*dodeca_k(%[w]), %[a]\n\tvmovdqa %c[size]*dodeca_k+32(%[w]), %[b]\n\t"
#define DODECA_REPEAT(rows) ".rept %c[n]\n\t" DODECA_LOAD rows ".set dodeca_k, dodeca_k+1\n\t.endr"
#define DODECA_SUMS1(p) [p0] p(sum[0][0]), [q0] p(sum[0][1])
#define DODECA_SUMS2(p) DODECA_SUMS1(p), [p1] p(sum[1][0]), [q1] p(sum[1][1])
#define DODECA_SUMS3(p) DODECA_SUMS2(p), [p2] p(sum[2][0]), [q2] p(sum[2][1])
#define DODECA_X1 [w] "r"(w), [x0] "r"(x[0])
#define DODECA_X2 DODECA_X1, [x1] "r"(x[1])
#define DODECA_X3 DODECA_X2, [x2] "r"(x[2])
#define DODECA_TEMPORARIES [a] "=&x"(a), [b] "=&x"(b), [t] "=&x"(t), [u] "=&x"(u)
#define DODECA_SUM(C, times)                                                                            \
  asm(".set dodeca_k, 0\n\t" DODECA_LOAD DODECA_ROWS##C(                                                \
          DODECA_FIRST, times) ".set dodeca_k, 1\n\t" DODECA_REPEAT(DODECA_ROWS##C(DODECA_NEXT, times)) \
      : DODECA_SUMS##C("=&x"), DODECA_TEMPORARIES                                                       \
      : DODECA_X##C, [size] "i"(unit_bytes(kCodes)), [n] "i"(kSteps - 1)                                \
      : "memory")
#define DODECA_SCALED_SUM(C, step, times)                                                                  \
  asm(".set dodeca_k, 0\n\t" DODECA_REPEAT(DODECA_ROWS##C(step, times))                                    \
      : DODECA_SUMS##C("+x"), DODECA_TEMPORARIES                                                           \
      : DODECA_X##C, [s] "x"(scale[0]), [r] "x"(scale[1]), [size] "i"(unit_bytes(kCodes)), [n] "i"(kSteps) \
      : "memory")
// sum = kSteps units, as words.
template <Codes kCodes, int C, int kSteps>
DODECA_INLINE void byte_sums(const std::uint8_t* w, const std::int8_t* const* x, __m256i (&sum)[C][2]) {
  static_assert(kCodes != Codes::kMagnitudes);
  __m256i a, b, t, u;
  if constexpr (kCodes == Codes::kUnsigned) {
    if constexpr (C == 1) DODECA_SUM(1, DODECA_UNSIGNED);
    if constexpr (C == 2) DODECA_SUM(2, DODECA_UNSIGNED);
    if constexpr (C == 3) DODECA_SUM(3, DODECA_UNSIGNED);
  } else {
    if constexpr (C == 1) DODECA_SUM(1, DODECA_SIGNED);
    if constexpr (C == 2) DODECA_SUM(2, DODECA_SIGNED);
    if constexpr (C == 3) DODECA_SUM(3, DODECA_SIGNED);
  }
}
// sum += kSteps units, each times the scales of the two halves.
template <Codes kCodes, int C, int kSteps>
DODECA_INLINE void scaled_byte_sums(const std::uint8_t* w, const std::int8_t* const* x, const __m256i (&scale)[2],
                                    __m256i (&sum)[C][2]) {
  __m256i a, b, t, u;
  if constexpr (kCodes == Codes::kUnsigned) {
    if constexpr (C == 1) DODECA_SCALED_SUM(1, DODECA_SCALED, DODECA_UNSIGNED);
    if constexpr (C == 2) DODECA_SCALED_SUM(2, DODECA_SCALED, DODECA_UNSIGNED);
    if constexpr (C == 3) DODECA_SCALED_SUM(3, DODECA_SCALED, DODECA_UNSIGNED);
  } else if constexpr (kCodes == Codes::kSigned) {
    if constexpr (C == 1) DODECA_SCALED_SUM(1, DODECA_SCALED, DODECA_SIGNED);
    if constexpr (C == 2) DODECA_SCALED_SUM(2, DODECA_SCALED, DODECA_SIGNED);
    if constexpr (C == 3) DODECA_SCALED_SUM(3, DODECA_SCALED, DODECA_SIGNED);
  } else {
    if constexpr (C == 1) DODECA_SCALED_SUM(1, DODECA_SCALED_SIGNS, DODECA_UNSIGNED);
    if constexpr (C == 2) DODECA_SCALED_SUM(2, DODECA_SCALED_SIGNS, DODECA_UNSIGNED);
    if constexpr (C == 3) DODECA_SCALED_SUM(3, DODECA_SCALED_SIGNS, DODECA_UNSIGNED);
  }
}

// Stores a unit of one half's signed codes for kMagnitudes. The result is `missing` plus what is to be added to their
// products, before scales, by pairs: magnitude times (activation xor ones) is code times activation less the magnitude, and
// at most 2 * 128 * 128, which is exact.
DODECA_INLINE __m256i store_magnitudes(__m256i codes, std::uint8_t* to, __m256i missing) {
  const __m256i magnitudes = _mm256_abs_epi8(codes), negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), codes);
  store(to, magnitudes);
  store(to + 64, negative);
  return _mm256_sub_epi16(missing, pairs(magnitudes, negative));
}

// The register accumulator of one activation row, and the shape of the register blocks.
struct Policy {
  struct Acc {
    __m256 half[2];
  };
  static constexpr int kFewRows = 4, kFetchFrom = 4;
  static constexpr bool kReorders = false, kCopies = false;
  static constexpr int kMaxTiles = 1, kMaxColumns = 3;
  DODECA_INLINE static Acc zero() { return {{_mm256_setzero_ps(), _mm256_setzero_ps()}}; }
  DODECA_INLINE static void finish(const Acc& acc, float* results) {
    _mm256_store_ps(results, acc.half[0]);
    _mm256_store_ps(results + 8, acc.half[1]);
  }
};

}  // namespace
}  // namespace dodeca::cpu::avx2
