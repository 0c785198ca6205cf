// Products with the lattice types. Layouts: quant/formats. Indices of 8 to 10 bits, and the halves of the points of IQ1, are
// looked up in tables that are held in registers, 64 at a time.
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/matmul/super_blocks_vnni.hpp"
#include "quant/iq_tables.hpp"

namespace dodeca::cpu::avx512_vnni {
namespace {

// In every lane, eight bits from each of four bit offsets; the two lanes of 64 bits are 32 apart.
DODECA_INLINE __m512i bits_at(__m512i v, int b0, int b1, int b2, int b3) {
  const std::uint32_t low = static_cast<std::uint32_t>(b0 | b1 << 8 | b2 << 16 | b3 << 24);
  const std::uint64_t both = low | static_cast<std::uint64_t>(low + 0x20202020u) << 32;
  return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(static_cast<long long>(both)), v);
}
// Of the units s and s + 4 of eight, with kEight's columns: the low halves of the lanes in the first, the high ones in the
// second, so that each has columns of one sub-block of 16.
DODECA_INLINE void split_halves(__m512i* v) {
  const __mmask64 upper = 0xccccccccccccccccull;
  const __m512i low_up = in_lanes(0, 1, 0, 1), high_down = in_lanes(2, 3, 2, 3);
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s) {
    const __m512i low = _mm512_mask_shuffle_epi8(v[s], upper, v[s + 4], low_up);
    v[s + 4] = _mm512_mask_shuffle_epi8(v[s + 4], ~upper, v[s], high_down);
    v[s] = low;
  }
}

// 64 indices, and which of them are in the second, third and last quarter of 256.
struct Index {
  __m512i low;
  __mmask64 second, third, last;
  DODECA_INLINE explicit Index(__m512i index) : low(index) {
    const __mmask64 odd = _mm512_movepi8_mask(_mm512_slli_epi32(index, 1)), upper = _mm512_movepi8_mask(index);
    second = _kandn_mask64(upper, odd);
    third = _kandn_mask64(odd, upper);
    last = _kand_mask64(odd, upper);
  }
};
// Looked up in 256 << kMore bytes; more: the further bits of the indices.
template <int kMore>
DODECA_INLINE __m512i look_up(const std::uint8_t* table, const Index& index, const __mmask64* more) {
  if constexpr (kMore == 0) {
    __m512i v = _mm512_permutexvar_epi8(index.low, load(table));
    v = _mm512_mask_permutexvar_epi8(v, index.second, index.low, load(table + 64));
    v = _mm512_mask_permutexvar_epi8(v, index.third, index.low, load(table + 128));
    return _mm512_mask_permutexvar_epi8(v, index.last, index.low, load(table + 192));
  } else {
    constexpr int kHalf = 128 << kMore;
    const __m512i low = look_up<kMore - 1>(table, index, more);
    return _mm512_mask_mov_epi8(low, more[kMore - 1], look_up<kMore - 1>(table + kHalf, index, more));
  }
}

// Sign bytes of the 7-bit fields of a word.
DODECA_INLINE __m512i signs_of_index(__m512i index) {
  return _mm512_permutex2var_epi8(load(quant::kIqTables.signs), index, load(quant::kIqTables.signs + 64));
}
DODECA_INLINE __m512i signs_of_word(__m512i word) { return signs_of_index(bits_at(word, 0, 7, 14, 21)); }

// i16 pairs 2s + 1.
DODECA_INLINE __m512i odd_scales(__m512i pair) {
  return _mm512_or_si512(_mm512_add_epi16(pair, pair), _mm512_set1_epi32(0x00010001));
}
DODECA_INLINE __m512i nibble_pair(const std::byte* scales, int p) {
  return _mm512_and_si512(_mm512_srli_epi32(load(scales + 64 * (p / 4)), 4 * (p % 4)), _mm512_set1_epi32(0x000f000f));
}
// The scales on top of the words of 32-blocks 2p and 2p + 1.
DODECA_INLINE __m512i top_pair(__m512i first, __m512i second) {
  return and_or(_mm512_srli_epi32(second, 12), _mm512_set1_epi32(0x000f0000), _mm512_srli_epi32(first, 28));
}
DODECA_INLINE __m512i first_of(__m512i pair) { return _mm512_and_si512(pair, _mm512_set1_epi32(0xffff)); }
DODECA_INLINE __m512i second_of(__m512i pair) { return _mm512_srli_epi32(pair, 16); }

enum class Order {
  kEight,       // unit s holds columns s, 8 + s, 16 + s, 24 + s
  kFour,        // units 4h + e hold columns 16h + e, + 4, + 8, + 12
  kSplitEight,  // kEight behind split_halves: units 4h + e hold columns 16h + e, + 8, + 4, + 12
};

// A table of values + kBias, or of values.
template <int kBias, bool kSigned>
DODECA_INLINE __m512i values(const std::uint8_t* table) {
  return kSigned ? _mm512_sub_epi8(load(table), bytes(kBias)) : load(table);
}

// Format gives Tile, kScales (16 or 8), kUnit and kBias (a weight is kUnit * d * (2s + 1) * (code - kBias)), kOrder,
// units<kSigned>(body, ib, codes) of the 32 columns ib (kSigned: code - kBias, of which two fit a byte together), and
// pair(body, p) of neighbouring 2s + 1. Where kBias is 0, pair gives what codes are multiplied with and offset_pair what
// is taken off; where kScales is 16, kAdded is how many units' products, two columns each, fit 16 bits together.
template <class Format>
struct Lattice : SuperBlocks<Lattice<Format>> {
  using Tile = typename Format::Tile;
  static constexpr int kPairs = Format::kScales / 2, kFetchFrom = 1;
  // Two scalings for each unit and row: from five rows on, decoding once into L1 is cheaper.
  static constexpr int kFewRows = Format::kScales == 16 && Format::kAdded == 1 ? 4 : 8;
  static constexpr bool kMins = false;
  static constexpr bool kReorders = true;  // few rows: it is cheaper to reorder the activations than the codes

  // Many rows: the same, with 128 added where codes are signed.
  static constexpr bool kCopies = true, kSignedCodes = Format::kBias != 0;

  // For 64 columns, where the units of `order` have theirs.
  struct alignas(64) Columns {
    std::uint8_t at[64];
    constexpr explicit Columns(Order order) : at() {
      constexpr int kHalves[] = {0, 8, 4, 12};
      for (int i = 0; i < 64; ++i) {
        const int block = i & 32, unit = i / 4 % 8, byte = i % 4, half = (unit & 4) * 4 + unit % 4;
        const int column = order == Order::kEight  ? 8 * byte + unit
                           : order == Order::kFour ? half + 4 * byte
                                                   : half + kHalves[byte];
        at[i] = static_cast<std::uint8_t>(block + column);
      }
    }
  };
  template <Order kOrder, bool kShifted>
  DODECA_INLINE static void copy_as(const Q8Block256& from, Q8Block256& to) {
    static constexpr Columns kColumns{kOrder};
    const __m512i at = load(kColumns.at), shift = kShifted ? bytes(-128) : _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 256; i += 64)
      store(to.q + i, _mm512_xor_si512(shift, _mm512_permutexvar_epi8(at, load(from.q + i))));
    store(to.sums16, load(from.sums16));
  }
  static void reorder(const Q8Block256* from, std::int64_t n_blocks, Q8Block256* to) {
    for (std::int64_t b = 0; b < n_blocks; ++b) copy_as<Format::kOrder, false>(from[b], to[b]);
  }
  DODECA_INLINE static void copy(const Q8Block256& from, Q8Block256& to) {
    copy_as<Format::kScales == 16 ? Order::kSplitEight : Format::kOrder, kSignedCodes>(from, to);
  }

  DODECA_INLINE static __m512i offset_pair(const std::byte* body, int p) {
    if constexpr (Format::kBias == 0) {
      return Format::offset_pair(body, p);
    } else {
      return Format::pair(body, p);
    }
  }

  DODECA_INLINE static __m512 factor(const std::byte* header) {
    return _mm512_mul_ps(_mm512_set1_ps(Format::kUnit), Format::d(header));
  }

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block256* const* x,
                                 __m512* acc) {
    Sums<C> isum, more, offset;
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      __m512i pair = Format::pair(body, Format::kScales == 8 ? q : 2 * q);
      if constexpr (Format::kScales == 8) offset.add32(offset_pair(body, q), x, 2 * q);
#pragma GCC unroll 2
      for (int e = 0; e < 2; ++e) {
        const int ib = 2 * q + e;
        if constexpr (Format::kScales == 16) {
          if (e == 1) pair = Format::pair(body, ib);
          offset.add16(pair, x, 2 * ib);
        }
        __m512i codes[8];
        Format::template units<false>(body, ib, codes);
        if constexpr (Format::kScales == 8) {
          Sums<C> sum;
#pragma GCC unroll 8
          for (int u = 0; u < 8; ++u) sum.add(codes[u], x, 32 * ib + 4 * u);
          isum.add_scaled(sum, e == 0 ? first_of(pair) : second_of(pair));
        } else {
          // Both bytes of a half lane belong to one sub-block: pairs of products are scaled as they are.
          Sums<C>& part = e == 0 ? isum : more;
#pragma GCC unroll 8
          for (int u = 0; u < 8; u += Format::kAdded) {
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) {
              const std::int8_t* q = x[c]->q + 32 * ib + 4 * u;
              __m512i products = _mm512_maddubs_epi16(codes[u], spread(q));
#pragma GCC unroll 4
              for (int j = 1; j < Format::kAdded; ++j) {
                products = _mm512_add_epi16(products, _mm512_maddubs_epi16(codes[u + j], spread(q + 4 * j)));
              }
              part.v[c] = dot2(part.v[c], products, pair);
            }
          }
        }
      }
    }
    const __m512 d = factor(header);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m512i sum = _mm512_add_epi32(isum.v[c], more.v[c]);
      acc[c] = fold(acc[c], d, *x[c], corrected(sum, offset.v[c], *x[c]));
    }
  }

  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int, Decoded& out) {
    const std::byte* body = tile + Tile::body(block);
    _mm512_store_ps(out.d, factor(tile + Tile::header(block)));
    __m512i scales[2 * kPairs], offset = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int p = 0; p < kPairs; ++p) {
      const __m512i pair = Format::pair(body, p);
      if constexpr (!kSignedCodes) store(out.pairs[p], offset_pair(body, p));
      scales[2 * p] = split_scale(first_of(pair));
      scales[2 * p + 1] = split_scale(second_of(pair));
      store(out.scales[2 * p], scales[2 * p]);
      store(out.scales[2 * p + 1], scales[2 * p + 1]);
    }
#pragma GCC unroll 8
    for (int ib = 0; ib < 8; ++ib) {
      __m512i codes[8];
      Format::template units<kSignedCodes>(body, ib, codes);
      if constexpr (Format::kScales == 16) split_halves(codes);
#pragma GCC unroll 8
      for (int u = 0; u < 8; ++u) store(out.codes[8 * ib + u], codes[u]);
      if constexpr (kSignedCodes) {
        constexpr int kUnits = 64 / Format::kScales;
#pragma GCC unroll 2
        for (int first = 0; first < 8; first += kUnits) {
          __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 4
          for (int u = first; u < first + kUnits; u += 2)
            sum = dot4(sum, bytes(1), _mm512_add_epi8(codes[u], codes[u + 1]));
          offset = dot2(offset, scales[(8 * ib + first) / kUnits], split_sum(sum));
        }
      }
    }
    if constexpr (kSignedCodes) store(out.offset, _mm512_slli_epi32(offset, 7));
  }
  template <int T, int C>
  DODECA_INLINE static void sum(const Decoded* w, const Q8Block256* const* x, __m512i (&isum)[T][C]) {
    Lattice::template sum_scaled<T, C, 64 / Format::kScales>(w, x, isum);
  }
  DODECA_INLINE static __m512i corrected(__m512i isum, __m512i psum, const Q8Block256&) {
    if constexpr (Format::kBias != 0) psum = _mm512_mullo_epi32(psum, _mm512_set1_epi32(Format::kBias));
    return _mm512_sub_epi32(isum, psum);
  }
};

// ---- IQ2

// Four points per lane: ranks of elements 0..3 and 4..7, two bits each, and sign bytes.
template <bool kSigned>
DODECA_INLINE void iq2_units(__m512i low, __m512i high, __m512i signs, __m512i* codes) {
  const __m512i first = values<quant::kIq2Bias, kSigned>(quant::kIqTables.iq2_first),
                second = values<quant::kIq2Bias, kSigned>(quant::kIqTables.iq2_second), ranks = bytes(0x0f);
  const __m512i pairs[4] = {select(ranks, low, _mm512_slli_epi32(signs, 4)),
                            select(ranks, _mm512_srli_epi32(low, 4), _mm512_slli_epi32(signs, 2)),
                            select(ranks, high, signs),
                            select(ranks, _mm512_srli_epi32(high, 4), _mm512_srli_epi32(signs, 2))};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    codes[2 * i] = _mm512_permutexvar_epi8(pairs[i], first);
    codes[2 * i + 1] = _mm512_permutexvar_epi8(pairs[i], second);
  }
}
template <bool kSigned, int kMore, class Table>
DODECA_INLINE void iq2_units(const Table& table, __m512i index, const __mmask64* more, __m512i signs, __m512i* codes) {
  const Index at(index);
  iq2_units<kSigned>(look_up<kMore>(table.low, at, more), look_up<kMore>(table.high, at, more), signs, codes);
}

struct Iq2 {
  static constexpr float kUnit = 0.125f;
  static constexpr int kBias = quant::kIq2Bias, kAdded = 1;
  static constexpr Order kOrder = Order::kEight;
  DODECA_INLINE static __m512 d(const std::byte* header) { return halves(header); }
};

struct IQ2_XXS : Iq2 {
  using Tile = quant::TileIQ2_XXS;
  static constexpr int kScales = 8;
  DODECA_INLINE static __m512i pair(const std::byte* body, int p) {
    return odd_scales(top_pair(load(body + 256 * p + 64), load(body + 256 * p + 192)));
  }
  template <bool kSigned>
  DODECA_INLINE static void units(const std::byte* body, int ib, __m512i* codes) {
    iq2_units<kSigned, 0>(quant::kIqTables.iq2_xxs, load(body + 128 * ib), nullptr,
                          signs_of_word(load(body + 128 * ib + 64)), codes);
  }
};

struct IQ2_XS : Iq2 {
  using Tile = quant::TileIQ2_XS;
  static constexpr int kScales = 16;
  DODECA_INLINE static __m512i pair(const std::byte* body, int p) {
    return odd_scales(nibble_pair(body + Tile::kScales, p));
  }
  template <bool kSigned>
  DODECA_INLINE static void units(const std::byte* body, int ib, __m512i* codes) {
    const __m512i rest = load(body + 128 * ib + 64);
    const __mmask64 more = _mm512_test_epi8_mask(rest, bytes(1));
    iq2_units<kSigned, 1>(quant::kIqTables.iq2_xs, load(body + 128 * ib), &more,
                          signs_of_index(_mm512_srli_epi32(rest, 1)), codes);
  }
};

struct IQ2_S : Iq2 {
  using Tile = quant::TileIQ2_S;
  static constexpr int kScales = 16;
  DODECA_INLINE static __m512i pair(const std::byte* body, int p) {
    return odd_scales(nibble_pair(body + Tile::kScales, p));
  }
  template <bool kSigned>
  DODECA_INLINE static void units(const std::byte* body, int ib, __m512i* codes) {
    const __m512i high = load(body + Tile::kHighBits + 64 * (ib / 4));
    const __mmask64 more[2] = {_mm512_test_epi8_mask(high, bytes(1 << 2 * (ib % 4))),
                               _mm512_test_epi8_mask(high, bytes(2 << 2 * (ib % 4)))};
    iq2_units<kSigned, 2>(quant::kIqTables.iq2_s, load(body + 128 * ib), more, load(body + 128 * ib + 64), codes);
  }
};

// ---- IQ3

// Four points of four elements per lane; signs: of a point's elements, the low bits of its byte.
template <int kMore, class Table>
DODECA_INLINE void iq3_units(const Table& table, __m512i value, __m512i index, const __mmask64* more, __m512i signs,
                             __m512i* codes) {
  const Index at(index);
  const __m512i low = look_up<kMore>(table.low, at, more), high = look_up<kMore>(table.high, at, more);
  const __m512i rank = bytes(0x07);
  codes[0] = _mm512_permutexvar_epi8(select(rank, low, _mm512_slli_epi32(signs, 3)), value);
  codes[1] = _mm512_permutexvar_epi8(select(rank, _mm512_srli_epi32(low, 3), _mm512_slli_epi32(signs, 2)), value);
  codes[2] = _mm512_permutexvar_epi8(select(rank, high, _mm512_slli_epi32(signs, 1)), value);
  codes[3] = _mm512_permutexvar_epi8(select(rank, _mm512_srli_epi32(high, 3), signs), value);
}

struct IQ3_XXS {
  using Tile = quant::TileIQ3_XXS;
  static constexpr int kScales = 8, kBias = quant::kIq3xxsBias, kAdded = 1;
  static constexpr float kUnit = 0.25f;
  static constexpr Order kOrder = Order::kFour;
  DODECA_INLINE static __m512 d(const std::byte* header) { return halves(header); }
  DODECA_INLINE static __m512i pair(const std::byte* body, int p) {
    return odd_scales(top_pair(load(body + 384 * p + 128), load(body + 384 * p + 320)));
  }
  template <bool kSigned>
  DODECA_INLINE static void units(const std::byte* body, int ib, __m512i* codes) {
    const std::byte* at = body + 192 * ib;
    const __m512i signs = signs_of_word(load(at + 128)),
                  value = values<kBias, kSigned>(quant::kIqTables.iq3_xxs_values);
    iq3_units<0>(quant::kIqTables.iq3_xxs, value, load(at), nullptr, bits_at(signs, 0, 4, 8, 12), codes);
    iq3_units<0>(quant::kIqTables.iq3_xxs, value, load(at + 64), nullptr, bits_at(signs, 16, 20, 24, 28), codes + 4);
  }
};

struct IQ3_S {
  using Tile = quant::TileIQ3_S;
  static constexpr int kScales = 8, kBias = quant::kIq3sBias, kAdded = 1;
  static constexpr float kUnit = 1.0f;
  static constexpr Order kOrder = Order::kFour;
  DODECA_INLINE static __m512 d(const std::byte* header) { return halves(header); }
  DODECA_INLINE static __m512i pair(const std::byte* body, int p) {
    return odd_scales(nibble_pair(body + Tile::kScales, p));
  }
  template <bool kSigned>
  DODECA_INLINE static void units(const std::byte* body, int ib, __m512i* codes) {
    const std::byte* at = body + 192 * ib;
    const __m512i signs = load(at + 128), bit = bytes(1 << ib),
                  value = values<kBias, kSigned>(quant::kIqTables.iq3_s_values);
    const __mmask64 more[2] = {_mm512_test_epi8_mask(load(body + Tile::kHighBits), bit),
                               _mm512_test_epi8_mask(load(body + Tile::kHighBits + 64), bit)};
    iq3_units<1>(quant::kIqTables.iq3_s, value, load(at), more, bits_at(signs, 0, 4, 8, 12), codes);
    iq3_units<1>(quant::kIqTables.iq3_s, value, load(at + 64), more + 1, bits_at(signs, 16, 20, 24, 28), codes + 4);
  }
};

// ---- IQ1

// The halves of the points of sub-block ib of 32, ranks of two bits.
struct Halves {
  __m512i low, high;
  template <class Tile>
  DODECA_INLINE static Halves of(const std::byte* body, int ib) {
    const __m512i code = load(body + Tile::points(ib)), upper = load(body + Tile::high_bits(ib / 2));
    const Index first(code);
    Index second = first;  // the block, and with it the quarter, is the same
    second.low = select(bytes(0x0f), ib % 2 == 0 ? upper : _mm512_srli_epi32(upper, 4), code);
    return {look_up<0>(quant::kIqTables.iq1.low, first, nullptr),
            look_up<0>(quant::kIqTables.iq1.high, second, nullptr)};
  }
};

// Codes are the ranks: a weight is kUnit * d * (2s + 1) times 8 * code - 7, or - 9 where the shift is negative.
struct IQ1_S {
  using Tile = quant::TileIQ1_S;
  static constexpr int kScales = 8, kBias = 0, kAdded = 1;
  static constexpr float kUnit = 0.125f;
  static constexpr Order kOrder = Order::kEight;
  DODECA_INLINE static __m512 d(const std::byte* header) { return halves(header); }
  DODECA_INLINE static __m512i odd_pair(const std::byte* body, int p) {
    const __m512i scales = _mm512_srli_epi32(load(body + Tile::kScales), 4 * p);
    return odd_scales(_mm512_and_si512(scales, _mm512_set1_epi32(0x00070007)));
  }
  DODECA_INLINE static __m512i pair(const std::byte* body, int p) { return _mm512_slli_epi32(odd_pair(body, p), 3); }
  DODECA_INLINE static __m512i offset_pair(const std::byte* body, int p) {
    const __m512i minus = _mm512_srli_epi32(load(body + Tile::kScales), 4 * p + 2);
    const __m512i times =
        _mm512_add_epi16(_mm512_and_si512(minus, _mm512_set1_epi32(0x00020002)), _mm512_set1_epi32(0x00070007));
    return _mm512_mullo_epi16(odd_pair(body, p), times);
  }
  template <bool kSigned>
  DODECA_INLINE static void units(const std::byte* body, int ib, __m512i* codes) {
    const Halves points = Halves::of<Tile>(body, ib);
#pragma GCC unroll 4
    for (int e = 0; e < 4; ++e) {
      codes[e] = _mm512_and_si512(_mm512_srli_epi32(points.low, 2 * e), bytes(3));
      codes[4 + e] = _mm512_and_si512(_mm512_srli_epi32(points.high, 2 * e), bytes(3));
    }
  }
};

struct IQ1_M {
  using Tile = quant::TileIQ1_M;
  static constexpr int kScales = 16, kBias = quant::kIq1Bias;
  static constexpr int kAdded = 4;  // products of bytes that fit 16 bits together
  static constexpr float kUnit = 0.125f;
  static constexpr Order kOrder = Order::kEight;
  // Its four nibbles are on top of the four words of scales.
  DODECA_INLINE static __m512 d(const std::byte* header) {
    const __m512i first = load(header + Tile::kScales), second = load(header + Tile::kScales + 64);
    const __m512i low = and_or(_mm512_srli_epi32(first, 24), _mm512_set1_epi32(0xf0),
                               _mm512_and_si512(_mm512_srli_epi32(first, 12), _mm512_set1_epi32(0x0f)));
    const __m512i high = and_or(_mm512_srli_epi32(second, 16), _mm512_set1_epi32(0xf000),
                                _mm512_and_si512(_mm512_srli_epi32(second, 4), _mm512_set1_epi32(0x0f00)));
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_or_si512(low, high)));
  }
  DODECA_INLINE static __m512i pair(const std::byte* body, int p) {
    const __m512i six = _mm512_srli_epi32(load(body + Tile::kScales + 64 * (p / 4)), 16 * (p / 2 % 2) + 6 * (p % 2));
    return odd_scales(
        and_or(_mm512_slli_epi32(six, 13), _mm512_set1_epi32(0x00070000), _mm512_and_si512(six, _mm512_set1_epi32(7))));
  }
  template <bool kSigned>
  DODECA_INLINE static void units(const std::byte* body, int ib, __m512i* codes) {
    const Halves points = Halves::of<Tile>(body, ib);
    const __m512i first = values<kBias, kSigned>(quant::kIqTables.iq1_first),
                  second = values<kBias, kSigned>(quant::kIqTables.iq1_second);
    const __mmask64 minus = _mm512_test_epi8_mask(load(body + Tile::kSigns), bytes(1 << ib));
    const __m512i negative = _mm512_maskz_mov_epi8(minus, bytes(0x10)), ranks = bytes(0x0f);
    const __m512i pairs[4] = {
        select(ranks, points.low, negative), select(ranks, _mm512_srli_epi32(points.low, 4), negative),
        select(ranks, points.high, negative), select(ranks, _mm512_srli_epi32(points.high, 4), negative)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      codes[2 * i] = _mm512_permutexvar_epi8(pairs[i], first);
      codes[2 * i + 1] = _mm512_permutexvar_epi8(pairs[i], second);
    }
  }
};

}  // namespace

DODECA_MATMUL(iq1_s, Lattice<IQ1_S>)
DODECA_MATMUL(iq1_m, Lattice<IQ1_M>)
DODECA_MATMUL(iq2_xxs, Lattice<IQ2_XXS>)
DODECA_MATMUL(iq2_xs, Lattice<IQ2_XS>)
DODECA_MATMUL(iq2_s, Lattice<IQ2_S>)
DODECA_MATMUL(iq3_xxs, Lattice<IQ3_XXS>)
DODECA_MATMUL(iq3_s, Lattice<IQ3_S>)

}  // namespace dodeca::cpu::avx512_vnni
