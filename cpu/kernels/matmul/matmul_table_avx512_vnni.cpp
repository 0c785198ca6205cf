// Products with the types whose codes stand for the values of a table: IQ4_XS and those of quant/formats/iq_k.hpp.
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/matmul/super_blocks_vnni.hpp"

namespace dodeca::cpu::avx512_vnni {
namespace {

// ---- codes to values

// vpermb takes the lower six bits of a byte as its index: a table of 64 values that repeats, or whose lower index bits do
// not matter, reads a code where it lies and needs no mask. Values are above the weights by kBias.
constexpr int kBias = 128;
struct Table {
  alignas(64) std::uint8_t value[64];
};
template <int kBits>
constexpr Table values_at(int bit) {
  Table table{};
  for (int i = 0; i < 64; ++i) {
    table.value[i] = static_cast<std::uint8_t>(kBias + quant::table_value<kBits>(i >> bit & ((1 << kBits) - 1)));
  }
  return table;
}
template <int kBits, int kBit = 0>
constexpr Table kValues = values_at<kBits>(kBit);

DODECA_INLINE __m512i look_up(__m512i index, const Table& table) {
  return _mm512_permutexvar_epi8(index, load(table.value));
}

// Units of five bits at `at`, in the lower five bits of their bytes: 2i, and 2i + 1.
struct FiveBits {
  __m512i even, odd;
  DODECA_INLINE FiveBits(const std::byte* at, int i) {
    const __m512i plane = load(at), v = load(at + 64 + 64 * i);
    const __m512i bits = i < 2 ? _mm512_slli_epi32(plane, 3 - 2 * i) : _mm512_srli_epi32(plane, 2 * i - 3);
    even = select(bytes(0x0f), v, bits);
    odd = _mm512_srli_epi32(select(bytes(0xf0), v, bits), 3);
  }
};

// The values of 32 columns, unit by unit, from their codes at `at` (quant/layout/tile_codes.hpp).
template <int kBits>
DODECA_INLINE void look_up_units(const std::byte* at, __m512i* units) {
  if constexpr (kBits == 2) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const __m512i v = load(at + 64 * i);
      units[4 * i] = look_up(v, kValues<2>);
      units[4 * i + 1] = look_up(v, kValues<2, 2>);
      units[4 * i + 2] = look_up(v, kValues<2, 4>);
      units[4 * i + 3] = look_up(_mm512_srli_epi32(v, 6), kValues<2>);
    }
  } else if constexpr (kBits == 3) {
    const __m512i a = load(at), b = load(at + 64), c = load(at + 128), low = bytes(0x03);
    units[0] = look_up(a, kValues<3>);
    units[1] = look_up(a, kValues<3, 3>);
    units[2] = look_up(b, kValues<3>);
    units[3] = look_up(b, kValues<3, 3>);
    units[4] = look_up(c, kValues<3>);
    units[5] = look_up(c, kValues<3, 3>);
    units[6] = look_up(select(low, _mm512_srli_epi32(a, 6), _mm512_srli_epi32(c, 4)), kValues<3>);
    units[7] = look_up(select(low, _mm512_srli_epi32(b, 6), _mm512_srli_epi32(c, 5)), kValues<3>);
  } else if constexpr (kBits == 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i v = load(at + 64 * i);
      units[2 * i] = look_up(v, kValues<4>);
      units[2 * i + 1] = look_up(_mm512_srli_epi32(v, 4), kValues<4>);
    }
  } else if constexpr (kBits == 5) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const FiveBits codes(at, i);
      units[2 * i] = look_up(codes.even, kValues<5>);
      units[2 * i + 1] = look_up(codes.odd, kValues<5>);
    }
  } else {
    static_assert(kBits == 6);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const __m512i plane = load(at + 192 * i), a = load(at + 192 * i + 64), b = load(at + 192 * i + 128);
      const __m512i low = bytes(0x0f), high = bytes(0xf0);
      units[4 * i] = look_up(select(low, a, _mm512_slli_epi32(plane, 4)), kValues<6>);
      units[4 * i + 1] = look_up(_mm512_srli_epi32(select(high, a, plane), 2), kValues<6>);
      units[4 * i + 2] = look_up(select(low, b, plane), kValues<6>);
      units[4 * i + 3] = look_up(_mm512_srli_epi32(select(high, b, _mm512_srli_epi32(plane, 4)), 2), kValues<6>);
    }
  }
}

// How a type's codes are read: units(body, k, units) of 32 columns k. With kReorders the units of a vector and its
// neighbour hold every second column of eight.
template <class Tile>
struct PlainCodes {
  static constexpr bool kReorders = false;
  DODECA_INLINE static void units(const std::byte* body, int k, __m512i* out) {
    look_up_units<Tile::kBits>(body + Tile::codes(k), out);
  }
};

template <int kWhich>
constexpr Table pair_values() {
  Table table{};
  for (int i = 0; i < 64; ++i) table.value[i] = static_cast<std::uint8_t>(kBias + quant::kIq2klValues[i & 31][kWhich]);
  return table;
}
template <int kWhich>
constexpr Table kPairValues = pair_values<kWhich>();

struct PairCodes {
  static constexpr bool kReorders = true;
  DODECA_INLINE static void units(const std::byte* body, int k, __m512i* out) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const FiveBits codes(body + quant::TileIQ2_KL::codes(k / 2), 2 * (k % 2) + i);
      out[4 * i] = look_up(codes.even, kPairValues<0>);
      out[4 * i + 1] = look_up(codes.even, kPairValues<1>);
      out[4 * i + 2] = look_up(codes.odd, kPairValues<0>);
      out[4 * i + 3] = look_up(codes.odd, kPairValues<1>);
    }
  }
};

struct HiddenScaleCodes {
  static constexpr bool kReorders = false;
  DODECA_INLINE static void units(const std::byte* body, int k, __m512i* out) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i v = load(body + quant::TileIQ4_KSS::codes(k) + 64 * i);
      const __m512i nibbles = _mm512_ternarylogic_epi32(v, _mm512_set1_epi16(static_cast<short>(0xfffe)),
                                                        _mm512_srli_epi16(v, 1), 0x6a);  // (v & mask) ^ v / 2
      out[i] = look_up(nibbles, kValues<4>);
      out[4 + i] = look_up(_mm512_srli_epi32(nibbles, 4), kValues<4>);
    }
  }
};

// ---- scales

// Of sub-blocks 2p and 2p + 1, i16 pairs: the scales; and what the activations' sums are multiplied with and then
// subtracted, scale times (kBias less the shift).
struct Pair {
  __m512i number, offset;
};
DODECA_INLINE Pair unshifted(__m512i number) { return {number, _mm512_slli_epi16(number, 7)}; }
static_assert(kBias == 1 << 7);
template <int kBits>
DODECA_INLINE Pair shifted(__m512i number, __mmask32 shifts) {
  const __m512i above = _mm512_mask_mov_epi16(_mm512_set1_epi16(kBias), shifts,
                                              _mm512_set1_epi16(static_cast<short>(kBias - quant::table_shift(kBits))));
  return {number, _mm512_mullo_epi16(number, above)};
}

// The u16 of a header's second half in both halves of its lane.
DODECA_INLINE __m512i second_halves(const std::byte* header) {
  const __m512i v = _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(header + 32)));
  return _mm512_or_si512(v, _mm512_slli_epi32(v, 16));
}

// Each gives kCount sub-blocks, factor(header) and pair(p). All vectors are loaded first: the stream stays in order.
template <class Tile>
struct Scales16 {
  static constexpr int kCount = 16, kVectors = Tile::kScaleBits / 2;
  __m512i shifts, scales[kVectors];
  DODECA_INLINE Scales16(const std::byte* header, const std::byte* body) : shifts(second_halves(header)) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) scales[i] = load(body + Tile::scales(i));
  }
  DODECA_INLINE static __m512 factor(const std::byte* header) { return halves(header); }
  DODECA_INLINE __m512i number(int p) const {
    if constexpr (Tile::kScaleBits == 8) {
      return byte_pair(scales[p / 2], p % 2);
    } else if constexpr (Tile::kScaleBits == 6) {
      return signed_six_pair<2>(scales[p / 4], scales[2], p);
    } else {
      const __m512i low = _mm512_srli_epi32(scales[p / 4], 4 * (p % 4));
      return _mm512_sub_epi16(_mm512_and_si512(low, _mm512_set1_epi32(0x000f000f)), _mm512_set1_epi16(8));
    }
  }
  DODECA_INLINE Pair pair(int p) const {
    const __m512i bits = _mm512_set1_epi32(static_cast<int>(1u << 2 * p | 2u << (2 * p + 16)));
    return shifted<Tile::kBits>(number(p), _mm512_test_epi16_mask(shifts, bits));
  }
};

// IQ4_XS: the high bits of the scales are in the header.
struct ScalesXs {
  using Tile = quant::TileIQ4_XS;
  static constexpr int kCount = 8;
  __m512i low, high;
  DODECA_INLINE ScalesXs(const std::byte* header, const std::byte* body) : low(load(body + Tile::kScales)) {
    const __m512i v = _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(header + 32)));
    high = _mm512_or_si512(v, _mm512_slli_epi32(v, 14));  // of odd sub-blocks 16 bits above those of even ones
  }
  DODECA_INLINE static __m512 factor(const std::byte* header) { return halves(header); }
  DODECA_INLINE Pair pair(int p) const { return unshifted(signed_six_pair<4>(low, high, p)); }
};

// Words of scale bytes: bit 0 is the shift.
enum class Stored {
  kOdd,      // the number is (byte & 254) - 127
  kHalf,     // byte / 2 - 16
  kHalfSix,  // byte / 2 - 32, no shift
};
template <Stored kStored, int kBits>
DODECA_INLINE Pair pair_of(__m512i words) {
  if constexpr (kStored == Stored::kHalfSix) {
    return unshifted(_mm512_sub_epi16(_mm512_srli_epi16(words, 1), _mm512_set1_epi16(32)));
  } else {
    const __m512i number =
        kStored == Stored::kOdd
            ? _mm512_sub_epi16(_mm512_and_si512(words, _mm512_set1_epi16(254)), _mm512_set1_epi16(127))
            : _mm512_sub_epi16(_mm512_srli_epi16(words, 1), _mm512_set1_epi16(16));
    return shifted<kBits>(number, _mm512_test_epi16_mask(words, _mm512_set1_epi16(1)));
  }
}
template <class Tile, Stored kStored>
struct Scales32 {
  static constexpr int kCount = 8;
  __m512i four[2];
  DODECA_INLINE Scales32(const std::byte*, const std::byte* body)
      : four{load(body + Tile::scales(0)), load(body + Tile::scales(1))} {}
  DODECA_INLINE static __m512 factor(const std::byte* header) {
    return kStored == Stored::kOdd ? _mm512_load_ps(header) : halves(header);
  }
  DODECA_INLINE Pair pair(int p) const {
    const __m512i v = four[p / 2];
    return pair_of<kStored, Tile::kBits>(p % 2 == 0 ? _mm512_and_si512(v, _mm512_set1_epi16(255))
                                                    : _mm512_srli_epi16(v, 8));
  }
};

struct HiddenScales {
  using Tile = quant::TileIQ4_KSS;
  static constexpr int kCount = 8;
  const std::byte* body;
  DODECA_INLINE HiddenScales(const std::byte*, const std::byte* body) : body(body) {}
  DODECA_INLINE static __m512 factor(const std::byte* header) { return _mm512_load_ps(header); }
  // Bits 2i and 16 + 2i of a lane: bits 2i and 2i + 1 of the scale of sub-block k; what lies between is not cleared.
  DODECA_INLINE __m512i collected(int k) const {
    const std::byte* at = body + Tile::codes(k);
    const __m512i first = select(_mm512_set1_epi32(0x00030003), load(at), _mm512_slli_epi32(load(at + 64), 2)),
                  second = select(_mm512_set1_epi32(0x00030003), load(at + 128), _mm512_slli_epi32(load(at + 192), 2));
    return select(_mm512_set1_epi32(0x000f000f), first, _mm512_slli_epi32(second, 4));
  }
  DODECA_INLINE Pair pair(int p) const {
    const __m512i a = collected(2 * p), b = collected(2 * p + 1), even = _mm512_set1_epi32(0x00000055);
    const __m512i first = select(even, a, _mm512_srli_epi32(a, 15));
    const __m512i second = select(even, b, _mm512_srli_epi32(b, 15));
    const __m512i words = select(_mm512_set1_epi32(0x0000ffff), first, _mm512_slli_epi32(second, 16));
    return pair_of<Stored::kOdd, 4>(_mm512_and_si512(words, _mm512_set1_epi16(255)));
  }
};

// ---- products

template <class TileType, class Scales, class Codes>
struct TableBlocks : SuperBlocks<TableBlocks<TileType, Scales, Codes>> {
  using Tile = TileType;
  static constexpr int kSubs = Scales::kCount, kPairs = kSubs / 2;
  static constexpr bool kMins = false, kReorders = Codes::kReorders;
  using Policy::kFetchFrom;

  // Of eight columns first those that are first of a pair.
  static void reorder(const Q8Block256* from, std::int64_t n_blocks, Q8Block256* to) {
    alignas(64) std::uint8_t column[64];
    for (int i = 0; i < 64; ++i) column[i] = static_cast<std::uint8_t>(i / 8 * 8 + i % 4 * 2 + i / 4 % 2);
    const __m512i columns = load(column);
    for (std::int64_t b = 0; b < n_blocks; ++b) {
      to[b] = from[b];
      for (int i = 0; i < 256; i += 64) store(to[b].q + i, _mm512_permutexvar_epi8(columns, load(from[b].q + i)));
    }
  }

  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block256* const* x,
                                 __m512* acc) {
    const Scales scales(header, body);
    Sums<C> isum, offset;
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      Pair pair = scales.pair(kSubs == 8 ? q : 2 * q);
      if constexpr (kSubs == 8) offset.add32(pair.offset, x, 2 * q);
#pragma GCC unroll 2
      for (int e = 0; e < 2; ++e) {
        const int k = 2 * q + e;
        if constexpr (C < kFetchFrom) asm volatile("" ::: "memory");  // keeps the stream in order
        __m512i units[8];
        Codes::units(body, k, units);
        if constexpr (kSubs == 8) {
          Sums<C> sum;
#pragma GCC unroll 8
          for (int u = 0; u < 8; ++u) sum.add(units[u], x, 32 * k + 4 * u);
          isum.add_scaled(sum, e == 0 ? first_scale(pair.number) : second_scale(pair.number));
        } else {
          if (e == 1) pair = scales.pair(k);
          offset.add16(pair.offset, x, 2 * k);
          Sums<C> first, second;
#pragma GCC unroll 4
          for (int u = 0; u < 4; ++u) first.add(units[u], x, 32 * k + 4 * u);
          isum.add_scaled(first, first_scale(pair.number));
#pragma GCC unroll 4
          for (int u = 4; u < 8; ++u) second.add(units[u], x, 32 * k + 4 * u);
          isum.add_scaled(second, second_scale(pair.number));
        }
      }
    }
    const __m512 d = Scales::factor(header);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) acc[c] = fold(acc[c], d, *x[c], _mm512_sub_epi32(isum.v[c], offset.v[c]));
  }

  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int, Decoded& out) {
    const std::byte *header = tile + Tile::header(block), *body = tile + Tile::body(block);
    _mm512_store_ps(out.d, Scales::factor(header));
    const Scales scales(header, body);
#pragma GCC unroll 8
    for (int p = 0; p < kPairs; ++p) {
      const Pair pair = scales.pair(p);
      store(out.scales[2 * p], split_scale(first_scale(pair.number)));
      store(out.scales[2 * p + 1], split_scale(second_scale(pair.number)));
      store(out.pairs[p], pair.offset);
    }
#pragma GCC unroll 2
    for (int k = 0; k < 8; ++k) {
      __m512i units[8];
      Codes::units(body, k, units);
      if constexpr (kReorders) put_in_order(units);
#pragma GCC unroll 8
      for (int u = 0; u < 8; ++u) store(out.codes[8 * k + u], units[u]);
    }
  }
  DODECA_INLINE static void put_in_order(__m512i* units) {
    const __m512i low = in_lanes(0, 0, 1, 1), high = in_lanes(2, 2, 3, 3);
    const __mmask64 odd = 0xaaaaaaaaaaaaaaaaull;
#pragma GCC unroll 4
    for (int u = 0; u < 8; u += 2) {
      const __m512i first = units[u], second = units[u + 1];
      units[u] = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(first, low), odd, second, low);
      units[u + 1] = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(first, high), odd, second, high);
    }
  }

  template <int T, int C>
  DODECA_INLINE static void sum(const Decoded* w, const Q8Block256* const* x, __m512i (&isum)[T][C]) {
    TableBlocks::template sum_scaled<T, C, 64 / kSubs>(w, x, isum);
  }
  DODECA_INLINE static __m512i corrected(__m512i isum, __m512i psum, const Q8Block256&) {
    return _mm512_sub_epi32(isum, psum);
  }
};

template <class Tile>
using Table16 = TableBlocks<Tile, Scales16<Tile>, PlainCodes<Tile>>;
template <class Tile, Stored kStored>
using Table32 = TableBlocks<Tile, Scales32<Tile, kStored>, PlainCodes<Tile>>;

using IQ2_KS = Table32<quant::TileIQ2_KS, Stored::kHalf>;
using IQ3_KS = Table32<quant::TileIQ3_KS, Stored::kHalf>;
using IQ4_KS = Table32<quant::TileIQ4_KS, Stored::kOdd>;
using IQ5_KS = Table32<quant::TileIQ5_KS, Stored::kOdd>;
using IQ4_XS = TableBlocks<quant::TileIQ4_XS, ScalesXs, PlainCodes<quant::TileIQ4_XS>>;
using IQ2_KL = TableBlocks<quant::TileIQ2_KL, Scales32<quant::TileIQ2_KL, Stored::kHalfSix>, PairCodes>;
using IQ4_KSS = TableBlocks<quant::TileIQ4_KSS, HiddenScales, HiddenScaleCodes>;

}  // namespace

DODECA_MATMUL(iq4_xs, IQ4_XS)
DODECA_MATMUL(iq2_k, Table16<quant::TileIQ2_K>)
DODECA_MATMUL(iq3_k, Table16<quant::TileIQ3_K>)
DODECA_MATMUL(iq4_k, Table16<quant::TileIQ4_K>)
DODECA_MATMUL(iq5_k, Table16<quant::TileIQ5_K>)
DODECA_MATMUL(iq6_k, Table16<quant::TileIQ6_K>)
DODECA_MATMUL(iq2_ks, IQ2_KS)
DODECA_MATMUL(iq3_ks, IQ3_KS)
DODECA_MATMUL(iq4_ks, IQ4_KS)
DODECA_MATMUL(iq5_ks, IQ5_KS)
DODECA_MATMUL(iq2_kl, IQ2_KL)
DODECA_MATMUL(iq4_kss, IQ4_KSS)

}  // namespace dodeca::cpu::avx512_vnni
