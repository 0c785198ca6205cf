// Products with the types whose codes stand for the values of a table: IQ4_XS and those of quant/formats/iq_k.hpp.
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/matmul/super_blocks_avx2.hpp"

namespace dodeca::cpu::avx2 {
namespace {

// Values of two and three bits are small enough to be multiplied as unsigned bytes, this much above the weights. Products of
// larger ones would not fit 16 bits: they are multiplied as magnitudes.
constexpr int bias_of(int bits) { return bits == 2 ? 31 : bits == 3 ? 63 : 0; }
constexpr Codes codes_of(int bits) { return bits <= 3 ? Codes::kSigned : Codes::kMagnitudes; }

// ---- codes to values

// Sixteen values for vpshufb. Codes of two bits: of an index whose bits from `bit` on are the code. Wider ones than four bits: of
// the codes whose other bits, above the nibble or (in odd units) below it, are `part`; vpblendvb chooses by these bits.
struct Table {
  alignas(16) std::int8_t value[16];
};
template <int kBits>
constexpr Table values_at(int bit) {
  Table table{};
  for (int i = 0; i < 16; ++i) {
    table.value[i] =
        static_cast<std::int8_t>(bias_of(kBits) + quant::table_value<kBits>(i >> bit & ((1 << kBits) - 1)));
  }
  return table;
}
template <int kBits, int kBit = 0>
constexpr Table kValues = values_at<kBits>(kBit);

template <int kBits>
constexpr int code_of(int nibble, int part, bool odd) {
  return odd ? nibble << (kBits - 4) | part : part << 4 | nibble;
}
template <int kBits>
constexpr Table values_of_part(int part, bool odd) {
  Table table{};
  for (int i = 0; i < 16; ++i) {
    table.value[i] = static_cast<std::int8_t>(quant::table_value<kBits>(code_of<kBits>(i, part, odd)));
  }
  return table;
}
template <int kBits>
struct WideValues {
  template <int kPart, bool kOdd>
  static constexpr Table kTable = values_of_part<kBits>(kPart, kOdd);
};

DODECA_INLINE __m256i shuffled(const Table& table, __m256i index) {
  return _mm256_shuffle_epi8(table16(table.value), index);
}
DODECA_INLINE __m256i low_nibbles(__m256i v) { return _mm256_and_si256(v, bytes(0x0f)); }
DODECA_INLINE __m256i high_nibbles(__m256i v) { return low_nibbles(_mm256_srli_epi32(v, 4)); }

// Of nibbles and, in bit 7 of every byte, the code's other bit.
template <class Values, bool kOdd>
DODECA_INLINE __m256i look_up_five(__m256i nibbles, __m256i bit) {
  return _mm256_blendv_epi8(shuffled(Values::template kTable<0, kOdd>, nibbles),
                            shuffled(Values::template kTable<1, kOdd>, nibbles), bit);
}
// The same of two other bits.
template <class Values, bool kOdd>
DODECA_INLINE __m256i look_up_six(__m256i nibbles, __m256i lower, __m256i upper) {
  const __m256i without = look_up_five<Values, kOdd>(nibbles, lower);
  const __m256i with = _mm256_blendv_epi8(shuffled(Values::template kTable<2, kOdd>, nibbles),
                                          shuffled(Values::template kTable<3, kOdd>, nibbles), lower);
  return _mm256_blendv_epi8(without, with, upper);
}

// Units 2i and 2i + 1 of five bits of the eight at `at`, their plane first.
struct FiveBits {
  __m256i even, odd, even_bit, odd_bit;
  DODECA_INLINE FiveBits(const std::byte* at, int i) {
    const __m256i plane = load(at), v = load(at + 64 + 64 * i);
    even = low_nibbles(v);
    odd = high_nibbles(v);
    even_bit = _mm256_slli_epi32(plane, 6 - 2 * i);
    odd_bit = _mm256_slli_epi32(plane, 7 - 2 * i);
  }
};

// The values of units 4e to 4e + 3 of the eight whose codes are at `at` (quant/layout/tile_codes.hpp).
template <int kBits>
DODECA_INLINE void look_up_four(const std::byte* at, int e, __m256i* units) {
  if constexpr (kBits == 2) {  // a nibble is the index of two tables
    const __m256i v = load(at + 64 * e), low = low_nibbles(v), high = high_nibbles(v);
    units[0] = shuffled(kValues<2>, low);
    units[1] = shuffled(kValues<2, 2>, low);
    units[2] = shuffled(kValues<2>, high);
    units[3] = shuffled(kValues<2, 2>, high);
  } else if constexpr (kBits == 3) {
    threes(at, e, units);
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) units[u] = shuffled(kValues<3>, units[u]);
  } else if constexpr (kBits == 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m256i v = load(at + 128 * e + 64 * j);
      units[2 * j] = shuffled(kValues<4>, low_nibbles(v));
      units[2 * j + 1] = shuffled(kValues<4>, high_nibbles(v));
    }
  } else if constexpr (kBits == 5) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const FiveBits codes(at, 2 * e + j);
      units[2 * j] = look_up_five<WideValues<5>, false>(codes.even, codes.even_bit);
      units[2 * j + 1] = look_up_five<WideValues<5>, true>(codes.odd, codes.odd_bit);
    }
  } else {
    static_assert(kBits == 6);
    const __m256i plane = load(at + 192 * e);
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m256i v = load(at + 192 * e + 64 + 64 * j);
      const auto bit = [&](int number) { return _mm256_slli_epi32(plane, 7 - number); };
      units[2 * j] = look_up_six<WideValues<6>, false>(low_nibbles(v), bit(4 * j), bit(4 * j + 1));
      units[2 * j + 1] = look_up_six<WideValues<6>, true>(high_nibbles(v), bit(4 * j + 2), bit(4 * j + 3));
    }
  }
}

// How a type's codes are read: four(at, k, e, units) of columns 32k + 16e to 32k + 16e + 15, from a half of a body. With
// kReorders the units of a vector and its neighbour hold every second column of eight.
template <class Tile>
struct PlainCodes {
  static constexpr bool kReorders = false;
  DODECA_INLINE static void four(const std::byte* at, int k, int e, __m256i* units) {
    look_up_four<Tile::kBits>(at + Tile::codes(k), e, units);
  }
};

template <int kWhich>
constexpr Table pair_values(int part, bool odd) {
  Table table{};
  for (int i = 0; i < 16; ++i) {
    table.value[i] = static_cast<std::int8_t>(bias_of(3) + quant::kIq2klValues[code_of<5>(i, part, odd)][kWhich]);
  }
  return table;
}
template <int kWhich>
struct PairValues {
  template <int kPart, bool kOdd>
  static constexpr Table kTable = pair_values<kWhich>(kPart, kOdd);
};

struct PairCodes {
  static constexpr bool kReorders = true;
  DODECA_INLINE static void four(const std::byte* at, int k, int e, __m256i* units) {
    const FiveBits codes(at + quant::TileIQ2_KL::codes(k / 2), 2 * (k % 2) + e);
    units[0] = look_up_five<PairValues<0>, false>(codes.even, codes.even_bit);
    units[1] = look_up_five<PairValues<1>, false>(codes.even, codes.even_bit);
    units[2] = look_up_five<PairValues<0>, true>(codes.odd, codes.odd_bit);
    units[3] = look_up_five<PairValues<1>, true>(codes.odd, codes.odd_bit);
  }
};

struct HiddenScaleCodes {
  static constexpr bool kReorders = false;
  DODECA_INLINE static void four(const std::byte* at, int k, int e, __m256i* units) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256i v = load(at + quant::TileIQ4_KSS::codes(k) + 64 * i);
      const __m256i nibbles =
          _mm256_xor_si256(_mm256_and_si256(v, _mm256_set1_epi16(static_cast<short>(0xfffe))), _mm256_srli_epi16(v, 1));
      units[i] = shuffled(kValues<4>, e == 0 ? low_nibbles(nibbles) : high_nibbles(nibbles));
    }
  }
};

// ---- scales

// Each is made for a half and gives kCount sub-blocks, factor(header, h), number(p), the scales of sub-blocks 2p and 2p + 1 as
// i16 pairs; where kShifts, ones in the words of shifted sub-blocks, shifted(p), and in the lanes, shifted_lanes(i).
template <class Tile>
struct Scales16 {
  static constexpr int kCount = 16;
  static constexpr bool kShifts = true;
  const std::byte* at;
  __m256i shifts, high;
  DODECA_INLINE Scales16(const std::byte* header, const std::byte* body, int h) : at(body + 32 * h) {
    const __m256i v = _mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(header + 32 + 16 * h)));
    shifts = _mm256_or_si256(v, _mm256_slli_epi32(v, 16));
    if constexpr (Tile::kScaleBits == 6) high = load(at + Tile::scales(2));
  }
  DODECA_INLINE static __m256 factor(const std::byte* header, int h) { return halves(header, h); }
  DODECA_INLINE __m256i number(int p) const {
    if constexpr (Tile::kScaleBits == 8) {
      return byte_pair(load(at + Tile::scales(p / 2)), p % 2);
    } else if constexpr (Tile::kScaleBits == 6) {
      return signed_six_pair<2>(load(at + Tile::scales(p / 4)), high, p);
    } else {
      const __m256i low = _mm256_srli_epi32(load(at + Tile::scales(p / 4)), 4 * (p % 4));
      return _mm256_sub_epi16(_mm256_and_si256(low, _mm256_set1_epi32(0x000f000f)), _mm256_set1_epi16(8));
    }
  }
  DODECA_INLINE __m256i shifted(int p) const {
    const __m256i bits = _mm256_set1_epi32(static_cast<int>(1u << 2 * p | 2u << (2 * p + 16)));
    return _mm256_cmpeq_epi16(_mm256_and_si256(shifts, bits), bits);
  }
  DODECA_INLINE __m256i shifted_lanes(int i) const { return _mm256_srai_epi32(_mm256_slli_epi32(shifts, 31 - i), 31); }
};

// IQ4_XS: the high bits of the scales are in the header.
struct ScalesXs {
  using Tile = quant::TileIQ4_XS;
  static constexpr int kCount = 8;
  static constexpr bool kShifts = false;
  __m256i low, high;
  DODECA_INLINE ScalesXs(const std::byte* header, const std::byte* body, int h)
      : low(load(body + 32 * h + Tile::kScales)) {
    const __m256i v = _mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(header + 32 + 16 * h)));
    high = _mm256_or_si256(v, _mm256_slli_epi32(v, 14));  // of odd sub-blocks 16 bits above those of even ones
  }
  DODECA_INLINE static __m256 factor(const std::byte* header, int h) { return halves(header, h); }
  DODECA_INLINE __m256i number(int p) const { return signed_six_pair<4>(low, high, p); }
};

// Words of scale bytes: bit 0 is the shift.
enum class Stored {
  kOdd,      // the number is (byte & 254) - 127
  kHalf,     // byte / 2 - 16
  kHalfSix,  // byte / 2 - 32, no shift
};
template <Stored kStored>
DODECA_INLINE __m256i number_of(__m256i words) {
  if constexpr (kStored == Stored::kOdd) {
    return _mm256_sub_epi16(_mm256_and_si256(words, _mm256_set1_epi16(254)), _mm256_set1_epi16(127));
  } else {
    return _mm256_sub_epi16(_mm256_srli_epi16(words, 1), _mm256_set1_epi16(kStored == Stored::kHalf ? 16 : 32));
  }
}
// Words gives words(p), of sub-blocks 2p and 2p + 1.
template <class Words, Stored kStored>
struct Scales32 : Words {
  using Words::Words;
  static constexpr int kCount = 8;
  static constexpr bool kShifts = kStored != Stored::kHalfSix;
  DODECA_INLINE static __m256 factor(const std::byte* header, int h) {
    return kStored == Stored::kOdd ? _mm256_load_ps(reinterpret_cast<const float*>(header) + 8 * h) : halves(header, h);
  }
  DODECA_INLINE __m256i number(int p) const { return number_of<kStored>(Words::words(p)); }
  DODECA_INLINE __m256i shifted(int p) const { return _mm256_srai_epi16(_mm256_slli_epi16(Words::words(p), 15), 15); }
  DODECA_INLINE __m256i shifted_lanes(int i) const {
    return _mm256_srai_epi32(_mm256_slli_epi32(Words::words(i / 2), i % 2 == 0 ? 31 : 15), 31);
  }
};

template <class Tile>
struct ByteWords {
  const std::byte* at;
  DODECA_INLINE ByteWords(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
  DODECA_INLINE __m256i words(int p) const {
    const __m256i four = load(at + Tile::scales(p / 2));
    return p % 2 == 0 ? _mm256_and_si256(four, _mm256_set1_epi16(255)) : _mm256_srli_epi16(four, 8);
  }
};

struct HiddenWords {
  using Tile = quant::TileIQ4_KSS;
  const std::byte* at;
  DODECA_INLINE HiddenWords(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
  // The scale of sub-block k, whose bits 2i and 2i + 1 are bits 0 and 16 of vector i.
  DODECA_INLINE __m256i scale_byte(int k) const {
    const __m256i lowest = _mm256_set1_epi32(0x00010001);
    __m256i bits = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256i two = _mm256_and_si256(load(at + Tile::codes(k) + 64 * i), lowest);
      bits = _mm256_or_si256(bits, _mm256_slli_epi32(two, 2 * i));
    }
    return _mm256_madd_epi16(bits, _mm256_set1_epi32(0x00020001));  // odd bits twice, beside the even ones
  }
  DODECA_INLINE __m256i words(int p) const {
    return _mm256_or_si256(scale_byte(2 * p), _mm256_slli_epi32(scale_byte(2 * p + 1), 16));
  }
};

// ---- products

template <class TileType, class Scales, class CodesType, int kBits = TileType::kBits>
struct TableBlocks : SuperBlocks<TableBlocks<TileType, Scales, CodesType, kBits>, codes_of(kBits)> {
  using Tile = TileType;
  static constexpr int kBias = bias_of(kBits);
  static constexpr int kScales = Scales::kCount, kUnits = kBits == 2 ? 2 : 1, kMins = 0;
  // Values that are above the weights: what pairs say, once. Others lack a shift: what pairs say, so many times.
  static constexpr int kOffset = kBias != 0 ? 1 : Scales::kShifts ? -quant::table_shift(kBits) : 0;
  static constexpr bool kReorders = CodesType::kReorders;
  static constexpr int kOrderedRows = kReorders ? 1 : 2;

  // Of eight columns first those that are first of a pair.
  static void reorder(const Q8Block256* from, std::int64_t n_blocks, Q8Block256* to) {
    for (std::int64_t b = 0; b < n_blocks; ++b) {
      to[b] = from[b];
      for (int i = 0; i < 256; ++i) to[b].q[i / 8 * 8 + i % 2 * 4 + i / 2 % 4] = from[b].q[i];
    }
  }

  DODECA_INLINE static __m256 factor(const std::byte* header, int h) { return Scales::factor(header, h); }

  struct Half {
    const std::byte* at;
    Scales scales;
    DODECA_INLINE Half(const std::byte* header, const std::byte* body, int h)
        : at(body + 32 * h), scales(header, body, h) {}
    DODECA_INLINE __m256i scale(int i) const { return both_halves(scales.number(i / 2), i % 2); }
    DODECA_INLINE __m256i pair(int p) const {
      const __m256i number = scales.number(p);
      if constexpr (kBias == 0) {
        return _mm256_and_si256(number, scales.shifted(p));
      } else {
        __m256i above = _mm256_set1_epi16(kBias);
        if constexpr (Scales::kShifts) {
          const __m256i shift = _mm256_set1_epi16(quant::table_shift(kBits));
          above = _mm256_sub_epi16(above, _mm256_and_si256(scales.shifted(p), shift));
        }
        return _mm256_mullo_epi16(number, above);
      }
    }
    DODECA_INLINE void units(int i, __m256i* out) const {
      if constexpr (kScales == 16) {
        CodesType::four(at, i / 2, i % 2, out);
      } else {
        CodesType::four(at, i, 0, out);
        CodesType::four(at, i, 1, out + 4);
      }
    }
    DODECA_INLINE void weights(int i, __m256i* out) const {
      units(i, out);
      if constexpr (kReorders) {
#pragma GCC unroll 4
        for (int u = 0; u < 8; u += 2) put_in_order(out + u);
      }
      __m256i change = bytes(-kBias);
      if constexpr (Scales::kShifts) {
        const __m256i shift = bytes(quant::table_shift(kBits));
        change = _mm256_add_epi8(change, _mm256_and_si256(scales.shifted_lanes(i), shift));
      }
#pragma GCC unroll 8
      for (int u = 0; u < 64 / kScales; ++u) out[u] = _mm256_add_epi8(out[u], change);
    }
  };

  DODECA_INLINE static void put_in_order(__m256i* two) {
    const __m256i up = _mm256_broadcastsi128_si256(_mm_setr_epi32(0x01010000, 0x05050404, 0x09090808, 0x0d0d0c0c));
    const __m256i odd = _mm256_set1_epi16(static_cast<short>(0xff00)), high = _mm256_add_epi8(up, bytes(2));
    const __m256i first = two[0], second = two[1];
    two[0] = _mm256_blendv_epi8(_mm256_shuffle_epi8(first, up), _mm256_shuffle_epi8(second, up), odd);
    two[1] = _mm256_blendv_epi8(_mm256_shuffle_epi8(first, high), _mm256_shuffle_epi8(second, high), odd);
  }
};

template <class Tile>
using Table16 = TableBlocks<Tile, Scales16<Tile>, PlainCodes<Tile>>;
template <class Tile, Stored kStored>
using Table32 = TableBlocks<Tile, Scales32<ByteWords<Tile>, kStored>, PlainCodes<Tile>>;

using IQ4_XS = TableBlocks<quant::TileIQ4_XS, ScalesXs, PlainCodes<quant::TileIQ4_XS>>;
using IQ2_KS = Table32<quant::TileIQ2_KS, Stored::kHalf>;
using IQ3_KS = Table32<quant::TileIQ3_KS, Stored::kHalf>;
using IQ4_KS = Table32<quant::TileIQ4_KS, Stored::kOdd>;
using IQ5_KS = Table32<quant::TileIQ5_KS, Stored::kOdd>;
// The values of IQ2_KL are those of three bits.
using IQ2_KL = TableBlocks<quant::TileIQ2_KL, Scales32<ByteWords<quant::TileIQ2_KL>, Stored::kHalfSix>, PairCodes, 3>;
using IQ4_KSS = TableBlocks<quant::TileIQ4_KSS, Scales32<HiddenWords, Stored::kOdd>, HiddenScaleCodes>;

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

}  // namespace dodeca::cpu::avx2
