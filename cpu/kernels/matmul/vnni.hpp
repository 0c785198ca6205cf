// Vector helpers of the avx512_vnni files. Internal linkage throughout.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cpu/kernels/matmul/block_loops.hpp"

namespace dodeca::cpu::avx512_vnni {
namespace {

DODECA_INLINE __m512i load(const void* at) { return _mm512_load_si512(at); }
DODECA_INLINE void store(void* at, __m512i v) { _mm512_store_si512(at, v); }
DODECA_INLINE __m512i bytes(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
// Four bytes of an activation row (or two sums) in every lane.
DODECA_INLINE __m512i spread(const void* at) {
  std::int32_t four;
  __builtin_memcpy(&four, at, 4);
  return _mm512_set1_epi32(four);
}
// sum + the four byte products, or the two word products, of every lane. Written as instructions because g++ 12 copies
// every accumulator of a loop around the intrinsics, two moves for each product.
DODECA_INLINE __m512i dot4(__m512i sum, __m512i codes, __m512i x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(x));
  return sum;
}
DODECA_INLINE __m512i dot2(__m512i sum, __m512i a, __m512i b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
// The same with the second factor spread from memory.
using Spread [[gnu::may_alias]] = std::int32_t;
DODECA_INLINE __m512i dot4_at(__m512i sum, __m512i codes, const void* x) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*static_cast<const Spread*>(x)));
  return sum;
}
DODECA_INLINE __m512i dot2_at(__m512i sum, __m512i a, const void* b) {
  asm("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(a), "m"(*static_cast<const Spread*>(b)));
  return sum;
}
DODECA_INLINE __m512i select(__m512i mask, __m512i yes, __m512i no) {
  return _mm512_ternarylogic_epi32(mask, yes, no, 0xca);
}
DODECA_INLINE __m512i and_or(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi32(a, b, c, 0xea); }
// For a shuffle: the low half of every lane in both its halves.
DODECA_INLINE __m512i low_half_twice() {
  return _mm512_broadcast_i32x4(_mm_set_epi64x(0x0d0c0d0c09080908, 0x0504050401000100));
}
// i16 pairs (low half of a, low half of b) in every lane.
DODECA_INLINE __m512i pair_low(__m512i a, __m512i b) {
  return _mm512_mask_shuffle_epi8(a, 0xccccccccccccccccull, b, low_half_twice());
}
DODECA_INLINE __m512i lanes(int b0, int b1, int b2, int b3) {
  return _mm512_set1_epi32(b0 | b1 << 8 | b2 << 16 | b3 << 24);
}
// Offsets of b0..b3 bytes in every lane, as vpshufb wants them.
DODECA_INLINE __m512i in_lanes(int b0, int b1, int b2, int b3) {
  const __m512i first = _mm512_broadcast_i32x4(_mm_setr_epi32(0x00000000, 0x04040404, 0x08080808, 0x0c0c0c0c));
  return _mm512_add_epi8(first, lanes(b0, b1, b2, b3));
}
// Sixteen bytes in every quarter of a register.
DODECA_INLINE __m512i table16(const void* at) {
  return _mm512_broadcast_i32x4(_mm_load_si128(static_cast<const __m128i*>(at)));
}
DODECA_INLINE __m512 halves(const void* at) {
  return _mm512_cvtph_ps(_mm256_load_si256(static_cast<const __m256i*>(at)));
}
DODECA_INLINE __m512 to_float(__m512i v) { return _mm512_cvtepi32_ps(v); }

// Four units of six bits (quant/layout/tile_codes.hpp), odd ones times 4.
DODECA_INLINE void sixes(const std::byte* at, __m512i* codes) {
  const __m512i plane = load(at), a = load(at + 64), b = load(at + 128);
  const __m512i low = bytes(0x0f), high = bytes(0xf0), top2 = bytes(0x30), last2 = bytes(0x0c);
  codes[0] = and_or(a, low, _mm512_and_si512(_mm512_slli_epi32(plane, 4), top2));
  codes[1] = and_or(a, high, _mm512_and_si512(plane, last2));
  codes[2] = and_or(b, low, _mm512_and_si512(plane, top2));
  codes[3] = and_or(b, high, _mm512_and_si512(_mm512_srli_epi32(plane, 4), last2));
}
DODECA_INLINE __m512i quarter(__m512i codes) { return _mm512_and_si512(_mm512_srli_epi32(codes, 2), bytes(0x3f)); }

// The register accumulator of one activation row, and the shape of the register blocks.
struct Policy {
  using Acc = __m512;
  static constexpr int kFewRows = 8, kFetchFrom = 4;
  static constexpr bool kReorders = false, kCopies = false, kSignedCodes = false;
  static constexpr int kMaxTiles = 2, kMaxColumns = 6;
  DODECA_INLINE static __m512 zero() { return _mm512_setzero_ps(); }
  DODECA_INLINE static void finish(__m512 acc, float* results) { _mm512_store_ps(results, acc); }
};

}  // namespace
}  // namespace dodeca::cpu::avx512_vnni
