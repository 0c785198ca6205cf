// Products with the K types. Layouts: quant/formats.
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/matmul/super_blocks_vnni.hpp"

namespace dodeca::cpu::avx512_vnni {
namespace {

// The number of its lane's first byte in every byte.
DODECA_INLINE __m512i first_bytes() {
  return _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
}

// ---- Q2_K

template <int kTiles>
struct Q2_K : SuperBlocks<Q2_K<kTiles>> {
  using Tile = quant::TileQ2_K;
  static constexpr int kMaxTiles = kTiles, kPairs = 8;
  static constexpr bool kMins = true;

  // The sums of sub-block g.
  template <int C>
  DODECA_INLINE static Sums<C> sub_block(const std::byte* body, int g, const Q8Block256* const* x) {
    const __m512i v = load(body + Tile::codes(g)), low = bytes(0x03);
    Sums<C> sum;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sum.add(_mm512_and_si512(_mm512_srli_epi32(v, 2 * j), low), x, 16 * g + 4 * j);
    return sum;
  }

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block256* const* x,
                                 __m512* acc) {
    const __m512i nibble = _mm512_set1_epi32(0x000f000f);
    Sums<C> isum, msum;
#pragma GCC unroll 8
    for (int p = 0; p < 8; ++p) {
      const __m512i both = load(body + Tile::scales(p / 2));
      const __m512i scale = _mm512_and_si512(_mm512_srli_epi32(both, 8 * (p % 2)), nibble);
      const Sums<C> first = sub_block<C>(body, 2 * p, x), second = sub_block<C>(body, 2 * p + 1, x);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) isum.v[c] = dot2(isum.v[c], scale, pair_low(first.v[c], second.v[c]));
    }
#pragma GCC unroll 8
    for (int p = 0; p < 8; ++p) {
      const __m512i both = load(body + Tile::scales(p / 2));
      msum.add16(_mm512_and_si512(_mm512_srli_epi32(both, 8 * (p % 2) + 4), nibble), x, 2 * p);
    }
    const __m512 d = halves(header), m = halves(header + 32);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) acc[c] = fold_min(fold(acc[c], d, *x[c], isum.v[c]), m, *x[c], msum.v[c]);
  }

  // code * scale is at most 45: looked up in a table of four entries per row, which fit the row's lane.
  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int, Decoded& out) {
    const std::byte *header = tile + Tile::header(block), *body = tile + Tile::body(block);
    _mm512_store_ps(out.d, halves(header));
    _mm512_store_ps(out.m, halves(header + 32));
    const __m512i nibble = _mm512_set1_epi32(0x000f000f), low = bytes(0x03);
    const __m512i entry = first_bytes();
    const __m512i ramp = _mm512_set1_epi32(0x03020100);
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      const __m512i both = load(body + Tile::scales(s));
#pragma GCC unroll 2
      for (int p = 0; p < 2; ++p) {
        store(out.pairs[2 * s + p], _mm512_and_si512(_mm512_srli_epi32(both, 8 * p + 4), nibble));
        const __m512i pair = _mm512_and_si512(_mm512_srli_epi32(both, 8 * p), nibble);
#pragma GCC unroll 2
        for (int e = 0; e < 2; ++e) {
          const int g = 4 * s + 2 * p + e;
          const __m512i scale = e == 0 ? _mm512_and_si512(pair, _mm512_set1_epi32(15)) : _mm512_srli_epi32(pair, 16);
          const __m512i table = _mm512_mullo_epi32(scale, ramp), v = load(body + Tile::codes(g));
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) {
            store(out.codes[4 * g + j], _mm512_shuffle_epi8(table, and_or(_mm512_srli_epi32(v, 2 * j), low, entry)));
          }
        }
      }
    }
  }
  template <int T, int C>
  DODECA_INLINE static void sum(const Decoded* w, const Q8Block256* const* x, __m512i (&isum)[T][C]) {
    Q2_K::template sum_flat<T, C>(w, x, isum);
  }
};

// ---- Q3_K

struct Q3_K : SuperBlocks<Q3_K> {
  using Tile = quant::TileQ3_K;
  static constexpr int kMaxTiles = 4, kPairs = 0;
  static constexpr bool kMins = false;

  // Of sub-blocks 2p and 2p + 1, as i16 pairs.
  DODECA_INLINE static __m512i scale_pair(const std::byte* body, __m512i high, int p) {
    return signed_six_pair<2>(load(body + Tile::kScales + 64 * (p / 4)), high, p);
  }

  // The sums of sub-block g.
  template <int C>
  DODECA_INLINE static Sums<C> sub_block(const std::byte* body, int g, const Q8Block256* const* x) {
    const std::byte* three = body + Tile::codes(g / 2);
    const __m512i a = load(three), b = load(three + 64), seven = bytes(0x07);
    Sums<C> sum;
    const auto add_two = [&](__m512i v, int column) {
      sum.add(_mm512_and_si512(v, seven), x, column);
      sum.add(_mm512_and_si512(_mm512_srli_epi32(v, 3), seven), x, column + 4);
    };
    if (g % 2 == 0) {
      add_two(a, 16 * g);
      add_two(b, 16 * g + 8);
    } else {
      const __m512i c = load(three + 128), low = bytes(0x03), third = bytes(0x04);
      add_two(c, 16 * g);
      sum.add(and_or(_mm512_srli_epi32(a, 6), low, _mm512_and_si512(_mm512_srli_epi32(c, 4), third)), x, 16 * g + 8);
      sum.add(and_or(_mm512_srli_epi32(b, 6), low, _mm512_and_si512(_mm512_srli_epi32(c, 5), third)), x, 16 * g + 12);
    }
    return sum;
  }

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block256* const* x,
                                 __m512* acc) {
    const __m512i high = load(body + Tile::kHighScales);
    Sums<C> isum, offset;
#pragma GCC unroll 8
    for (int p = 0; p < 8; ++p) {
      if constexpr (C == 1) asm volatile("" ::: "memory");  // keeps the stream in order
      const __m512i scale = scale_pair(body, high, p);
      const Sums<C> first = sub_block<C>(body, 2 * p, x), second = sub_block<C>(body, 2 * p + 1, x);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) isum.v[c] = dot2(isum.v[c], scale, pair_low(first.v[c], second.v[c]));
      offset.add16(scale, x, 2 * p);
    }
    const __m512 d = halves(header);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      acc[c] = fold(acc[c], d, *x[c], _mm512_sub_epi32(isum.v[c], _mm512_slli_epi32(offset.v[c], 2)));
    }
  }

  // (scale - 32) * (code - 4) + 124 is in 0..252: a table of the four low codes per row, and 4 * (scale - 32) more when
  // the third bit is set.
  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int, Decoded& out) {
    const std::byte* body = tile + Tile::body(block);
    _mm512_store_ps(out.d, halves(tile + Tile::header(block)));
    const __m512i high = load(body + Tile::kHighScales), low = bytes(0x03);
    const __m512i entry = first_bytes();
    struct Place {
      int low_vector, low_bit, third_vector, third_bit;
    };
    constexpr Place kPlaces[8] = {{0, 0, 0, 2}, {0, 3, 0, 5}, {1, 0, 1, 2}, {1, 3, 1, 5},
                                  {2, 0, 2, 2}, {2, 3, 2, 5}, {0, 6, 2, 6}, {1, 6, 2, 7}};
#pragma GCC unroll 8
    for (int p = 0; p < 8; ++p) {
      const __m512i pair = scale_pair(body, high, p);
      const std::byte* three = body + Tile::codes(p);
      const __m512i v[3] = {load(three), load(three + 64), load(three + 128)};
#pragma GCC unroll 2
      for (int e = 0; e < 2; ++e) {
        const int g = 2 * p + e;
        // The scale's low byte in all four bytes of its lane.
        const __m512i where = _mm512_add_epi8(entry, bytes(2 * e));
        const __m512i scale = _mm512_shuffle_epi8(pair, where), twice = _mm512_add_epi8(scale, scale);
        const __m512i four = _mm512_add_epi8(twice, twice);
        const __m512i ramp = _mm512_add_epi8(_mm512_and_si512(scale, _mm512_set1_epi32(static_cast<int>(0xff00ff00u))),
                                             _mm512_and_si512(twice, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
        const __m512i table = _mm512_add_epi8(ramp, _mm512_sub_epi8(bytes(124), four));
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const Place& place = kPlaces[4 * e + j];
          const __m512i entries = and_or(_mm512_srli_epi32(v[place.low_vector], place.low_bit), low, entry);
          const __m512i value = _mm512_shuffle_epi8(table, entries);
          const __mmask64 set = _mm512_test_epi8_mask(v[place.third_vector], bytes(1 << place.third_bit));
          store(out.codes[4 * g + j], _mm512_mask_add_epi8(value, set, value, four));
        }
      }
    }
  }
  template <int T, int C>
  DODECA_INLINE static void sum(const Decoded* w, const Q8Block256* const* x, __m512i (&isum)[T][C]) {
    sum_flat<T, C>(w, x, isum);
  }
  DODECA_INLINE static __m512i corrected(__m512i isum, __m512i, const Q8Block256& x) {
    return _mm512_sub_epi32(isum, _mm512_set1_epi32(124 * x.sum));
  }
};

// ---- Q4_K, Q5_K

// 6-bit scales (kShift 0) or minima (kShift 8 in the high bits) of sub-blocks 2p and 2p + 1.
template <int kShift>
DODECA_INLINE __m512i six_pair(__m512i nibbles, __m512i high, int p) {
  const int right = kShift + 2 * p - 4;
  const __m512i top = right < 0 ? _mm512_slli_epi32(high, -right) : _mm512_srli_epi32(high, right);
  const __m512i both = select(_mm512_set1_epi32(0x000f000f), _mm512_srli_epi32(nibbles, 4 * p), top);
  return _mm512_and_si512(both, _mm512_set1_epi32(0x003f003f));
}
DODECA_INLINE __m512i low_half(__m512i pair) { return _mm512_and_si512(pair, _mm512_set1_epi32(0xffff)); }
DODECA_INLINE __m512i high_half(__m512i pair) { return _mm512_srli_epi32(pair, 16); }

template <class Tile>
DODECA_INLINE void decode_scales6(const std::byte* header, const std::byte* body, Decoded& out) {
  _mm512_store_ps(out.d, halves(header));
  _mm512_store_ps(out.m, halves(header + 32));
  const __m512i scales = load(body + Tile::kScales), mins = load(body + Tile::kMins),
                high = load(body + Tile::kHighScales);
#pragma GCC unroll 4
  for (int p = 0; p < 4; ++p) {
    const __m512i pair = six_pair<0>(scales, high, p);
    store(out.scales[2 * p], split_scale(low_half(pair)));
    store(out.scales[2 * p + 1], split_scale(high_half(pair)));
    store(out.pairs[p], six_pair<8>(mins, high, p));
  }
}

struct Q4_K : SuperBlocks<Q4_K> {
  using Tile = quant::TileQ4_K;
  static constexpr int kPairs = 4;
  static constexpr bool kMins = true;

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block256* const* x,
                                 __m512* acc) {
    const __m512i scales = load(body + Tile::kScales), mins = load(body + Tile::kMins),
                  high = load(body + Tile::kHighScales);
    const __m512i low4 = bytes(0x0f), high4 = bytes(0xf0), words = _mm512_set1_epi32(0xffff);
    const __m512i shifted = bytes(2);  // picks the second scale of a pair
    const __m512i lanes = low_half_twice();
    Sums<C> isum, msum;
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      const __m512i pair = six_pair<0>(scales, high, k / 2);
      const __m512i scale = _mm512_shuffle_epi8(pair, k % 2 == 0 ? lanes : _mm512_add_epi8(lanes, shifted));
      // Even units sum in `even`, odd ones, still times 16, in `odd`; both fit 16 bits once halved so.
      Sums<C> even, odd;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m512i v = load(body + Tile::kCodes + 64 * (4 * k + i));
        even.add(_mm512_and_si512(v, low4), x, 32 * k + 8 * i);
        odd.add(_mm512_and_si512(v, high4), x, 32 * k + 8 * i + 4);
      }
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        isum.v[c] = dot2(isum.v[c], scale, select(words, even.v[c], _mm512_slli_epi32(odd.v[c], 12)));
      }
    }
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) msum.add32(six_pair<8>(mins, high, p), x, 2 * p);
    const __m512 d = halves(header), m = halves(header + 32);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) acc[c] = fold_min(fold(acc[c], d, *x[c], isum.v[c]), m, *x[c], msum.v[c]);
  }

  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int, Decoded& out) {
    const std::byte* body = tile + Tile::body(block);
    decode_scales6<Tile>(tile + Tile::header(block), body, out);
    const __m512i low4 = bytes(0x0f);
    for (int i = 0; i < 32; ++i) {
      const __m512i v = load(body + Tile::kCodes + 64 * i);
      store(out.codes[2 * i], _mm512_and_si512(v, low4));
      store(out.codes[2 * i + 1], _mm512_and_si512(_mm512_srli_epi32(v, 4), low4));
    }
  }
  template <int T, int C>
  DODECA_INLINE static void sum(const Decoded* w, const Q8Block256* const* x, __m512i (&isum)[T][C]) {
    Q4_K::template sum_scaled<T, C, 8>(w, x, isum);
  }
};

struct Q5_K : SuperBlocks<Q5_K> {
  using Tile = quant::TileQ5_K;
  static constexpr int kPairs = 4;
  static constexpr bool kMins = true;

  // The bits of vector i of a sub-block moved to 3 (odd unit) and 4 (even unit).
  DODECA_INLINE static __m512i plane_bits(__m512i plane, int i) {
    return i < 2 ? _mm512_slli_epi32(plane, 3 - 2 * i) : _mm512_srli_epi32(plane, 2 * i - 3);
  }
  DODECA_INLINE static __m512i even_codes(__m512i v, __m512i bits) {
    return and_or(v, bytes(0x0f), _mm512_and_si512(bits, bytes(0x10)));
  }
  DODECA_INLINE static __m512i odd_codes_times_8(__m512i v, __m512i bits) {
    return and_or(v, bytes(0xf0), _mm512_and_si512(bits, bytes(0x08)));
  }
  DODECA_INLINE static __m512i odd_codes(__m512i v, __m512i bits) {
    return _mm512_and_si512(_mm512_srli_epi32(odd_codes_times_8(v, bits), 3), bytes(0x1f));
  }

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block256* const* x,
                                 __m512* acc) {
    const __m512i scales = load(body + Tile::kScales), mins = load(body + Tile::kMins),
                  high = load(body + Tile::kHighScales);
    Sums<C> isum, msum;
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      const __m512i pair = six_pair<0>(scales, high, k / 2), plane = load(body + Tile::high_bits(k));
      const __m512i scale = k % 2 == 0 ? low_half(pair) : high_half(pair);
      Sums<C> sum, odd;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m512i v = load(body + Tile::codes(4 * k + i)), bits = plane_bits(plane, i);
        sum.add(even_codes(v, bits), x, 32 * k + 8 * i);
        if constexpr (C < 4)  // a shift for each row against two operations for each unit
          odd.add(odd_codes_times_8(v, bits), x, 32 * k + 8 * i + 4);
        else
          sum.add(odd_codes(v, bits), x, 32 * k + 8 * i + 4);
      }
      if constexpr (C < 4) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) sum.v[c] = _mm512_add_epi32(sum.v[c], _mm512_srai_epi32(odd.v[c], 3));
      }
      isum.add_scaled(sum, scale);
    }
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) msum.add32(six_pair<8>(mins, high, p), x, 2 * p);
    const __m512 d = halves(header), m = halves(header + 32);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) acc[c] = fold_min(fold(acc[c], d, *x[c], isum.v[c]), m, *x[c], msum.v[c]);
  }

  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int, Decoded& out) {
    const std::byte* body = tile + Tile::body(block);
    decode_scales6<Tile>(tile + Tile::header(block), body, out);
    for (int k = 0; k < 8; ++k) {
      const __m512i plane = load(body + Tile::high_bits(k));
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m512i v = load(body + Tile::codes(4 * k + i)), bits = plane_bits(plane, i);
        store(out.codes[8 * k + 2 * i], even_codes(v, bits));
        store(out.codes[8 * k + 2 * i + 1], odd_codes(v, bits));
      }
    }
  }
  template <int T, int C>
  DODECA_INLINE static void sum(const Decoded* w, const Q8Block256* const* x, __m512i (&isum)[T][C]) {
    Q5_K::template sum_scaled<T, C, 8>(w, x, isum);
  }
};

// ---- Q6_K

struct Q6_K : SuperBlocks<Q6_K> {
  using Tile = quant::TileQ6_K;
  static constexpr bool kMins = false, kSignedCodes = true;

  // The sums of sub-block g.
  template <int C>
  DODECA_INLINE static Sums<C> sub_block(const std::byte* body, int g, const Q8Block256* const* x) {
    __m512i codes[4];
    sixes(body + Tile::high_bits(g), codes);
    Sums<C> sum;
    if constexpr (C < 4) {  // a shift for each row against two operations for each unit
      sum.add(codes[1], x, 16 * g + 4);
      sum.add(codes[3], x, 16 * g + 12);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum.v[c] = _mm512_srai_epi32(sum.v[c], 2);
    } else {
      sum.add(quarter(codes[1]), x, 16 * g + 4);
      sum.add(quarter(codes[3]), x, 16 * g + 12);
    }
    sum.add(codes[0], x, 16 * g);
    sum.add(codes[2], x, 16 * g + 8);
    return sum;
  }

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block256* const* x,
                                 __m512* acc) {
    Sums<C> isum, offset;
#pragma GCC unroll 8
    for (int p = 0; p < 8; ++p) {
      const __m512i pair = byte_pair(load(body + Tile::scales(p / 2)), p % 2);
      offset.add16(pair, x, 2 * p);
#pragma GCC unroll 2
      for (int e = 0; e < 2; ++e) {
        const __m512i scale = e == 0 ? first_scale(pair) : second_scale(pair);
        isum.add_scaled(sub_block<C>(body, 2 * p + e, x), scale);
      }
    }
    const __m512 d = halves(header);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      acc[c] = fold(acc[c], d, *x[c], _mm512_sub_epi32(isum.v[c], _mm512_slli_epi32(offset.v[c], 5)));
    }
  }

  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int, Decoded& out) {
    const std::byte* body = tile + Tile::body(block);
    _mm512_store_ps(out.d, halves(tile + Tile::header(block)));
    __m512i offset = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int p = 0; p < 8; ++p) {
      const __m512i pair = byte_pair(load(body + Tile::scales(p / 2)), p % 2);
#pragma GCC unroll 2
      for (int e = 0; e < 2; ++e) {
        const int g = 2 * p + e;
        const __m512i scale = split_scale(e == 0 ? first_scale(pair) : second_scale(pair));
        store(out.scales[g], scale);
        __m512i codes[4];
        sixes(body + Tile::high_bits(g), codes);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          codes[j] = _mm512_sub_epi8(j % 2 == 0 ? codes[j] : quarter(codes[j]), bytes(32));
          store(out.codes[4 * g + j], codes[j]);
        }
        const __m512i four = _mm512_add_epi8(_mm512_add_epi8(codes[0], codes[1]), _mm512_add_epi8(codes[2], codes[3]));
        offset = dot2(offset, scale, split_sum(dot4(_mm512_setzero_si512(), bytes(1), four)));
      }
    }
    store(out.offset, _mm512_slli_epi32(offset, 7));
  }
  template <int T, int C>
  DODECA_INLINE static void sum(const Decoded* w, const Q8Block256* const* x, __m512i (&isum)[T][C]) {
    Q6_K::template sum_scaled<T, C, 4>(w, x, isum);
  }
};

// Of Q2_K. Zen 5, which alone fetches so, is 5 % faster with two tiles at a time; others were up to 10 % slower.
const bool kTwoTiles = kStreamFetch == StreamFetch::kIntoL1;

}  // namespace

void gemm_q2_k(const MatmulArgs& args) noexcept {
  if (kTwoTiles)
    gemm_many<Q2_K<2>>(args);
  else
    gemm_many<Q2_K<4>>(args);
}
void gemv_q2_k(const MatmulArgs& args) noexcept { gemv_few<Q2_K<4>>(args); }
DODECA_MATMUL(q3_k, Q3_K)
DODECA_MATMUL(q4_k, Q4_K)
DODECA_MATMUL(q5_k, Q5_K)
DODECA_MATMUL(q6_k, Q6_K)

}  // namespace dodeca::cpu::avx512_vnni
