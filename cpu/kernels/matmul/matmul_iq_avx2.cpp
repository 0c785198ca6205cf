// Products with the lattice types: points are gathered, eight rows at a time, as ranks of their elements; signs join
// the ranks before these become values. Layouts: quant/formats.
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "cpu/kernels/matmul/super_blocks_avx2.hpp"
#include "quant/iq_tables.hpp"

namespace dodeca::cpu::avx2 {
namespace {

DODECA_INLINE __m256i low_bits(__m256i v, int mask) { return _mm256_and_si256(v, _mm256_set1_epi32(mask)); }
// Shifted right, or left by -right.
DODECA_INLINE __m256i shifted(__m256i v, int right) {
  return right >= 0 ? _mm256_srli_epi32(v, right) : _mm256_slli_epi32(v, -right);
}
DODECA_INLINE __m256i points(const std::uint32_t* spread, __m256i index) {
  return _mm256_i32gather_epi32(reinterpret_cast<const int*>(spread), index, 4);
}
// Byte g of every lane in all its bytes.
DODECA_INLINE __m256i byte_everywhere(__m256i v, int g) {
  const __m256i first = _mm256_broadcastsi128_si256(_mm_setr_epi32(0x00000000, 0x04040404, 0x08080808, 0x0c0c0c0c));
  return _mm256_shuffle_epi8(v, _mm256_add_epi8(first, bytes(g)));
}
// `flag` in byte e of a lane where bit first + e is set.
DODECA_INLINE __m256i flags(__m256i everywhere, int first, int flag) {
  const __m256i bit = _mm256_set1_epi32(static_cast<int>(0x08040201u << first));
  return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(everywhere, bit), bit), bytes(flag));
}
DODECA_INLINE __m256i values(const std::uint8_t* table, __m256i ranks) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table))),
                             ranks);
}

// Sign bytes of four 7-bit indices, one per byte (bit 7 clear): the eighth bit is their parity.
DODECA_INLINE __m256i sign_bytes(__m256i index) {
  const __m256i odd = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
  const __m256i folded = _mm256_and_si256(_mm256_xor_si256(index, _mm256_srli_epi32(index, 4)), bytes(0x0f));
  return _mm256_or_si256(index, _mm256_shuffle_epi8(odd, folded));
}
DODECA_INLINE __m256i signs_of_word(__m256i word) {
  const __m256i low = _mm256_or_si256(low_bits(word, 0x7f), low_bits(_mm256_slli_epi32(word, 1), 0x7f00));
  const __m256i high =
      _mm256_or_si256(low_bits(_mm256_slli_epi32(word, 2), 0x7f0000), low_bits(_mm256_slli_epi32(word, 3), 0x7f000000));
  return sign_bytes(_mm256_or_si256(low, high));
}

// i16 pairs 2s + 1.
DODECA_INLINE __m256i odd_scales(__m256i pair) {
  return _mm256_or_si256(_mm256_add_epi16(pair, pair), _mm256_set1_epi32(0x00010001));
}
DODECA_INLINE __m256i nibble_pair(const std::byte* scales, int p) {
  return low_bits(_mm256_srli_epi32(load(scales + 64 * (p / 4)), 4 * (p % 4)), 0x000f000f);
}
// The scales on top of the words of 32-blocks 2p and 2p + 1.
DODECA_INLINE __m256i top_pair(__m256i first, __m256i second) {
  return _mm256_or_si256(low_bits(_mm256_srli_epi32(second, 12), 0x000f0000), _mm256_srli_epi32(first, 28));
}

// What the formats share. Format gives Tile, kScales, kUnits, kOffset and kUnit (a weight is kUnit * d * (2s + 1) *
// (code - kOffset)) and Half.
template <class Format, Codes kCodes = Codes::kSigned>
struct Lattice : SuperBlocks<Format, kCodes> {
  static constexpr int kMins = 0;
  static constexpr int kFetchFrom = 1;
  DODECA_INLINE static __m256 factor(const std::byte* header, int h) {
    return _mm256_mul_ps(_mm256_set1_ps(Format::kUnit), halves(header, h));
  }
};

// ---- points of eight

// Half gives pair(p), and point(ib, g, flags): the ranks of eight columns, and what to set in each for its sign.
template <class Half, int kScales>
struct EightWide : Half {
  using Half::Half;
  DODECA_INLINE __m256i scale(int i) const { return both_halves(Half::pair(i / 2), i % 2); }
  DODECA_INLINE void units(int i, __m256i* codes) const {
    constexpr int kPoints = 32 / kScales;
#pragma GCC unroll 4
    for (int j = 0; j < kPoints; ++j) {
      const int t = kPoints * i + j;
      __m256i signs[2];
      const __m256i ranks = Half::point(t / 4, t % 4, signs);
      const __m256i low = _mm256_and_si256(ranks, bytes(0x0f)),
                    high = _mm256_and_si256(_mm256_srli_epi32(ranks, 4), bytes(0x0f));
      codes[2 * j] = values(Half::kValues, _mm256_or_si256(low, signs[0]));
      codes[2 * j + 1] = values(Half::kValues, _mm256_or_si256(high, signs[1]));
    }
  }
};

struct Iq2Half {
  static constexpr const std::uint8_t* kValues = quant::kIqTables.iq2_values;
  const std::byte* at;
  DODECA_INLINE Iq2Half(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
  DODECA_INLINE __m256i index(int ib, int g) const {
    return low_bits(_mm256_srli_epi32(load(at + 128 * ib), 8 * g), 255);
  }
  DODECA_INLINE static void set_flags(__m256i sign_bytes, int g, __m256i* out) {
    const __m256i everywhere = byte_everywhere(sign_bytes, g);
    out[0] = flags(everywhere, 0, 4);
    out[1] = flags(everywhere, 4, 4);
  }
};

template <class Format>
struct Iq2 : Lattice<Format> {
  static constexpr int kUnits = 1, kOffset = quant::kIq2Bias;
  static constexpr float kUnit = 0.125f;
};

struct IQ2_XXS : Iq2<IQ2_XXS> {
  using Tile = quant::TileIQ2_XXS;
  static constexpr int kScales = 8;
  struct Rows : Iq2Half {
    using Iq2Half::Iq2Half;
    DODECA_INLINE __m256i pair(int p) const {
      return odd_scales(top_pair(load(at + 256 * p + 64), load(at + 256 * p + 192)));
    }
    DODECA_INLINE __m256i point(int ib, int g, __m256i* signs) const {
      set_flags(signs_of_word(load(at + 128 * ib + 64)), g, signs);
      return points(quant::kIqTables.iq2_xxs.spread, index(ib, g));
    }
  };
  using Half = EightWide<Rows, kScales>;
};

struct IQ2_XS : Iq2<IQ2_XS> {
  using Tile = quant::TileIQ2_XS;
  static constexpr int kScales = 16;
  struct Rows : Iq2Half {
    using Iq2Half::Iq2Half;
    DODECA_INLINE __m256i pair(int p) const { return odd_scales(nibble_pair(at + Tile::kScales, p)); }
    DODECA_INLINE __m256i point(int ib, int g, __m256i* signs) const {
      const __m256i rest = load(at + 128 * ib + 64);
      set_flags(sign_bytes(_mm256_and_si256(_mm256_srli_epi32(rest, 1), bytes(0x7f))), g, signs);
      return points(quant::kIqTables.iq2_xs.spread,
                    _mm256_or_si256(index(ib, g), low_bits(shifted(rest, 8 * g - 8), 0x100)));
    }
  };
  using Half = EightWide<Rows, kScales>;
};

struct IQ2_S : Iq2<IQ2_S> {
  using Tile = quant::TileIQ2_S;
  static constexpr int kScales = 16;
  struct Rows : Iq2Half {
    using Iq2Half::Iq2Half;
    DODECA_INLINE __m256i pair(int p) const { return odd_scales(nibble_pair(at + Tile::kScales, p)); }
    DODECA_INLINE __m256i point(int ib, int g, __m256i* signs) const {
      const __m256i high = load(at + Tile::kHighBits + 64 * (ib / 4));
      set_flags(load(at + 128 * ib + 64), g, signs);
      return points(quant::kIqTables.iq2_s.spread,
                    _mm256_or_si256(index(ib, g), low_bits(shifted(high, 8 * g + 2 * (ib % 4) - 8), 0x300)));
    }
  };
  using Half = EightWide<Rows, kScales>;
};

// The points of IQ1 are gathered by their codes.
template <class Tile>
DODECA_INLINE __m256i iq1_ranks(const std::byte* at, int ib, int g) {
  const __m256i low = low_bits(_mm256_srli_epi32(load(at + Tile::points(ib)), 8 * g), 255);
  const __m256i upper = load(at + Tile::high_bits(ib / 2));
  return points(quant::kIqTables.iq1.spread,
                _mm256_or_si256(low, low_bits(shifted(upper, 8 * g + 4 * (ib % 2) - 8), 0xf00)));
}

// Codes are the ranks: a weight is kUnit * d * (2s + 1) times 8 * code - 7, or - 9 where the shift is negative.
struct IQ1_S : Lattice<IQ1_S, Codes::kUnsigned> {
  using Tile = quant::TileIQ1_S;
  static constexpr int kScales = 8, kUnits = 8, kOffset = 1;
  static constexpr float kUnit = 0.125f;
  struct Half {
    const std::byte* at;
    DODECA_INLINE Half(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
    DODECA_INLINE __m256i odd_pair(int p) const {
      return odd_scales(low_bits(_mm256_srli_epi32(load(at + Tile::kScales), 4 * p), 0x00070007));
    }
    DODECA_INLINE __m256i pair(int p) const {
      const __m256i minus = low_bits(_mm256_srli_epi32(load(at + Tile::kScales), 4 * p + 2), 0x00020002);
      return _mm256_mullo_epi16(odd_pair(p), _mm256_add_epi16(minus, _mm256_set1_epi32(0x00070007)));
    }
    DODECA_INLINE __m256i scale(int i) const { return both_halves(_mm256_slli_epi32(odd_pair(i / 2), 3), i % 2); }
    DODECA_INLINE void units(int ib, __m256i* codes) const {
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) {
        const __m256i ranks = iq1_ranks<Tile>(at, ib, g);
        codes[2 * g] = _mm256_and_si256(ranks, bytes(0x0f));
        codes[2 * g + 1] = _mm256_and_si256(_mm256_srli_epi32(ranks, 4), bytes(0x0f));
      }
    }
  };
};

struct IQ1_M : Lattice<IQ1_M> {
  using Tile = quant::TileIQ1_M;
  static constexpr int kScales = 16, kUnits = 4, kOffset = quant::kIq1Bias;
  static constexpr float kUnit = 0.125f;
  // Its four nibbles are on top of the four words of scales.
  DODECA_INLINE static __m256 factor(const std::byte* header, int h) {
    const __m256i first = load(header + 32 * h + Tile::kScales), second = load(header + 32 * h + Tile::kScales + 64);
    const __m256i low =
        _mm256_or_si256(low_bits(_mm256_srli_epi32(first, 12), 0x0f), low_bits(_mm256_srli_epi32(first, 24), 0xf0));
    const __m256i high = _mm256_or_si256(low_bits(_mm256_srli_epi32(second, 4), 0x0f00),
                                         low_bits(_mm256_srli_epi32(second, 16), 0xf000));
    const __m256i wide = _mm256_or_si256(low, high);
    const __m128i d = _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    return _mm256_mul_ps(_mm256_set1_ps(kUnit), _mm256_cvtph_ps(d));
  }
  struct Rows {
    static constexpr const std::uint8_t* kValues = quant::kIqTables.iq1_values;
    const std::byte* at;
    DODECA_INLINE Rows(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
    DODECA_INLINE __m256i pair(int p) const {
      const __m256i six = _mm256_srli_epi32(load(at + Tile::kScales + 64 * (p / 4)), 16 * (p / 2 % 2) + 6 * (p % 2));
      return odd_scales(_mm256_or_si256(low_bits(six, 7), low_bits(_mm256_slli_epi32(six, 13), 0x00070000)));
    }
    DODECA_INLINE __m256i point(int ib, int g, __m256i* signs) const {
      // Bit ib of byte g, in every byte of its lane: the shift is negative.
      const __m256i all = _mm256_srai_epi32(_mm256_slli_epi32(load(at + Tile::kSigns), 31 - 8 * g - ib), 31);
      signs[0] = signs[1] = _mm256_and_si256(all, bytes(4));
      return iq1_ranks<Tile>(at, ib, g);
    }
  };
  using Half = EightWide<Rows, kScales>;
};

// ---- points of four

// Rows gives pair(p), signs(ib) and index(ib, k).
template <class Rows>
struct FourWide : Rows {
  using Rows::Rows;
  DODECA_INLINE __m256i scale(int i) const { return both_halves(Rows::pair(i / 2), i % 2); }
  DODECA_INLINE void units(int ib, __m256i* codes) const {
    const __m256i signs = Rows::signs(ib);
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      const __m256i flag = flags(byte_everywhere(signs, k / 2), 4 * (k % 2), 8);
      codes[k] = values(Rows::kValues, _mm256_or_si256(points(Rows::kSpread, Rows::index(ib, k)), flag));
    }
  }
};

struct Iq3Half {
  const std::byte* at;
  DODECA_INLINE Iq3Half(const std::byte*, const std::byte* body, int h) : at(body + 32 * h) {}
  DODECA_INLINE __m256i low_index(int ib, int k) const {
    return low_bits(_mm256_srli_epi32(load(at + 192 * ib + 64 * (k / 4)), 8 * (k % 4)), 255);
  }
};

struct IQ3_XXS : Lattice<IQ3_XXS> {
  using Tile = quant::TileIQ3_XXS;
  static constexpr int kScales = 8, kUnits = 1, kOffset = quant::kIq3xxsBias;
  static constexpr float kUnit = 0.25f;
  struct Rows : Iq3Half {
    static constexpr const std::uint8_t* kValues = quant::kIqTables.iq3_xxs_values;
    static constexpr const std::uint32_t* kSpread = quant::kIqTables.iq3_xxs.spread;
    using Iq3Half::Iq3Half;
    DODECA_INLINE __m256i pair(int p) const {
      return odd_scales(top_pair(load(at + 384 * p + 128), load(at + 384 * p + 320)));
    }
    DODECA_INLINE __m256i signs(int ib) const { return signs_of_word(load(at + 192 * ib + 128)); }
    DODECA_INLINE __m256i index(int ib, int k) const { return low_index(ib, k); }
  };
  using Half = FourWide<Rows>;
};

struct IQ3_S : Lattice<IQ3_S> {
  using Tile = quant::TileIQ3_S;
  static constexpr int kScales = 8, kUnits = 4, kOffset = quant::kIq3sBias;
  static constexpr float kUnit = 1.0f;
  struct Rows : Iq3Half {
    static constexpr const std::uint8_t* kValues = quant::kIqTables.iq3_s_values;
    static constexpr const std::uint32_t* kSpread = quant::kIqTables.iq3_s.spread;
    using Iq3Half::Iq3Half;
    DODECA_INLINE __m256i pair(int p) const { return odd_scales(nibble_pair(at + Tile::kScales, p)); }
    DODECA_INLINE __m256i signs(int ib) const { return load(at + 192 * ib + 128); }
    DODECA_INLINE __m256i index(int ib, int k) const {
      const __m256i high = load(at + Tile::kHighBits + 64 * (k / 4));
      return _mm256_or_si256(low_index(ib, k), low_bits(shifted(high, 8 * (k % 4) + ib - 8), 0x100));
    }
  };
  using Half = FourWide<Rows>;
};

}  // namespace

DODECA_MATMUL(iq1_s, IQ1_S)
DODECA_MATMUL(iq1_m, IQ1_M)
DODECA_MATMUL(iq2_xxs, IQ2_XXS)
DODECA_MATMUL(iq2_xs, IQ2_XS)
DODECA_MATMUL(iq2_s, IQ2_S)
DODECA_MATMUL(iq3_xxs, IQ3_XXS)
DODECA_MATMUL(iq3_s, IQ3_S)

}  // namespace dodeca::cpu::avx2
