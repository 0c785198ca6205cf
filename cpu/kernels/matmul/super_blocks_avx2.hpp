// The shape of the avx2 products with super-blocks of 256 columns. Internal linkage.
#pragma once

#include "cpu/kernels/matmul/avx2.hpp"
#include "quant/layout/q8_blocks.hpp"

namespace dodeca::cpu::avx2 {
namespace {

DODECA_INLINE __m256 fold(__m256 acc, __m256 d, const Q8Block256& x, __m256i isum) {
  return _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(x.scale)), to_float(isum), acc);
}
DODECA_INLINE __m256 fold_min(__m256 acc, __m256 dmin, const Q8Block256& x, __m256i msum) {
  return _mm256_fnmadd_ps(_mm256_mul_ps(dmin, _mm256_set1_ps(x.scale)), to_float(msum), acc);
}

// Byte of sub-block 4s + i in its lane of scale vector s, moved to both halves of the lane.
DODECA_INLINE __m256i byte_twice(__m256i four, int i) {
  constexpr int kPlace[4] = {0, 2, 1, 3};
  const __m256i first = _mm256_broadcastsi128_si256(
      _mm_set_epi64x(static_cast<long long>(0x800c800c80088008), static_cast<long long>(0x8004800480008000)));
  return _mm256_shuffle_epi8(four, _mm256_add_epi8(first, _mm256_set1_epi16(static_cast<short>(kPlace[i]))));
}
// Signed bytes of sub-blocks 4s + 2p and 4s + 2p + 1, of vector s, as i16 pairs.
DODECA_INLINE __m256i byte_pair(__m256i four, int p) {
  return _mm256_srai_epi16(p == 0 ? _mm256_slli_epi16(four, 8) : four, 8);
}
// Six bits minus 32: nibbles at bits 4(p % 4), above them two bits of `high` at kWidth * p. Both in both halves.
template <int kWidth>
DODECA_INLINE __m256i signed_six_pair(__m256i nibbles, __m256i high, int p) {
  const __m256i low = _mm256_srli_epi32(nibbles, 4 * (p % 4));
  const int right = kWidth * p - 4;
  const __m256i top = right < 0 ? _mm256_slli_epi32(high, -right) : _mm256_srli_epi32(high, right);
  const __m256i six = _mm256_and_si256(select(_mm256_set1_epi32(0x000f000f), low, top), _mm256_set1_epi32(0x003f003f));
  return _mm256_sub_epi16(six, _mm256_set1_epi16(32));
}

// One super-block decoded for gemm.
template <Codes kCodes>
struct alignas(64) DecodedSuperBlock {
  std::uint8_t codes[64][unit_bytes(kCodes)];                 // unit, lane
  std::int32_t missing[kCodes == Codes::kUnsigned ? 0 : 16];  // what is to be added to the products of signed codes
  std::int16_t scales[16][32];                                // the scale in both halves of its lane
  std::int16_t pairs[8][32];  // minima, or scales, of neighbouring sub-blocks, to multiply with sums
  float d[16], m[16];
};

// Half gives the weights themselves, for many rows: units() need not be the weights plus an offset.
template <class Half>
concept HasWeights = requires(const Half& half, __m256i* codes) {
  half.weights(0, codes);
};

// The shape of all kernels here. With few rows codes are unsigned, or signed where kCodes says kMagnitudes; with many rows
// kSigned takes the offset off them. Format gives
//   kScales                sub-blocks per super-block, 16 or 8
//   kUnits                 units whose products may be added as i16
//   kMins                  pairs of minima: 8, 4, or 0 for none
//   kOffset                what codes are above the weights; if not 0, pairs hold the scales, or other numbers whose sums
//                          with those of the activations are taken off kOffset times
//   factor(header, h)      where it is not the header's first f16
//   Half(header, body, h)  the rows of half h: units(i, codes) of sub-block i, scale(i), and pair(p); weights(i, codes) where
//                          they are not units(i) less kOffset
template <class Format, Codes kCodes = Codes::kUnsigned>
struct SuperBlocks : Policy {
  using Act = Q8Block256;
  using Decoded = DecodedSuperBlock<kCodes>;
  static constexpr int kFewRows = 2;  // from three on, decoding once into L1 is cheaper
  // Up to how many rows it is faster when the compiler may not collect a block's products and add them at its end.
  static constexpr int kOrderedRows = kCodes == Codes::kMagnitudes ? 2 : 0;
  static constexpr int kStep = 1, kMaxTiles = kCodes == Codes::kSigned ? 2 : 1;

  DODECA_INLINE static __m256 factor(const std::byte* header, int h) { return halves(header, h); }
  DODECA_INLINE static __m256i product(__m256i codes, __m256i x) {
    return kCodes == Codes::kMagnitudes ? signed_pairs(codes, x) : pairs(codes, x);
  }
  DODECA_INLINE static const std::int16_t* sums(const Q8Block256& x, int p) {
    return (Format::kScales == 16 ? x.sums16 : x.sums32) + 2 * p;
  }

  DODECA_INLINE static __m256i corrected(__m256i isum, __m256i psum) {
    if constexpr (Format::kOffset == 0) return isum;
    if constexpr (Format::kOffset != 1) psum = _mm256_mullo_epi32(psum, _mm256_set1_epi32(Format::kOffset));
    return _mm256_sub_epi32(isum, psum);
  }

  // Both halves at once, so that each load of activations and each line of weights is used twice.
  template <int C>
  DODECA_INLINE static void dots(const std::byte* header, const std::byte* body, const Q8Block256* const* x, Acc* acc) {
    constexpr int kSubUnits = 64 / Format::kScales, kUnits = Format::kUnits;
    constexpr bool kPairs = Format::kMins != 0 || Format::kOffset != 0;
    const typename Format::Half half[2] = {{header, body, 0}, {header, body, 1}};
    __m256i isum[C][2], psum[C][2];
    each<C>([&](int c, int h) { isum[c][h] = psum[c][h] = _mm256_setzero_si256(); });
#pragma GCC unroll 16
    for (int i = 0; i < Format::kScales; ++i) {
      __m256i codes[2][kSubUnits];
      half[0].units(i, codes[0]);
      half[1].units(i, codes[1]);
      const __m256i scale[2] = {half[0].scale(i), half[1].scale(i)};
#pragma GCC unroll 8
      for (int u = 0; u < kSubUnits; u += kUnits) {
#pragma GCC unroll 2
        for (int c = 0; c < C; ++c) {
          __m256i part[2];
#pragma GCC unroll 8
          for (int j = 0; j < kUnits; ++j) {
            const __m256i four = spread(x[c]->q + 4 * (kSubUnits * i + u + j));
#pragma GCC unroll 2
            for (int h = 0; h < 2; ++h) {
              const __m256i two = product(codes[h][u + j], four);
              part[h] = j == 0 ? two : add16(part[h], two);
            }
          }
          isum[c][0] = dot2(isum[c][0], part[0], scale[0]);
          isum[c][1] = dot2(isum[c][1], part[1], scale[1]);
          if constexpr (C <= Format::kOrderedRows) asm("" : "+x"(isum[c][0]), "+x"(isum[c][1]));
        }
      }
      if constexpr (kPairs) {
        if (i % 2 == 1) {
          const __m256i pair[2] = {half[0].pair(i / 2), half[1].pair(i / 2)};
          each<C>([&](int c, int h) { psum[c][h] = dot2(psum[c][h], pair[h], spread(sums(*x[c], i / 2))); });
        }
      }
    }
    each<C>([&](int c, int h) {
      __m256 v = fold(acc[c].half[h], Format::factor(header, h), *x[c], corrected(isum[c][h], psum[c][h]));
      if constexpr (Format::kMins != 0) v = fold_min(v, halves(header + 32, h), *x[c], psum[c][h]);
      acc[c].half[h] = v;
    });
  }

  DODECA_INLINE static void decode(const std::byte* tile, std::int64_t block, int, Decoded& out) {
    constexpr int kSubUnits = 64 / Format::kScales;
    const std::byte *header = tile + Format::Tile::header(block), *body = tile + Format::Tile::body(block);
    for (int h = 0; h < 2; ++h) {
      const typename Format::Half half(header, body, h);
      __m256i missing = _mm256_setzero_si256();
      _mm256_store_ps(out.d + 8 * h, Format::factor(header, h));
      if constexpr (Format::kMins != 0) _mm256_store_ps(out.m + 8 * h, halves(header + 32, h));
#pragma GCC unroll 16
      for (int i = 0; i < Format::kScales; ++i) {
        const __m256i scale = half.scale(i);
        store(out.scales[i] + 16 * h, scale);
        if constexpr (many_pairs()) {
          if (i % 2 == 1) store(out.pairs[i / 2] + 16 * h, half.pair(i / 2));
        }
        __m256i codes[kSubUnits], less = _mm256_setzero_si256();
        if constexpr (HasWeights<typename Format::Half>) {
          half.weights(i, codes);
        } else {
          half.units(i, codes);
        }
#pragma GCC unroll 8
        for (int u = 0; u < kSubUnits; ++u) {
          std::uint8_t* to = out.codes[kSubUnits * i + u] + 32 * h;
          if constexpr (kCodes == Codes::kMagnitudes) {
            less = store_magnitudes(codes[u], to, less);
          } else {
            if constexpr (kCodes == Codes::kSigned && !HasWeights<typename Format::Half>) {
              codes[u] = _mm256_sub_epi8(codes[u], bytes(Format::kOffset));
            }
            store(to, codes[u]);
          }
          if (kCodes == Codes::kSigned && u % 2 == 1) {
            less = _mm256_sub_epi16(less, pairs(bytes(1), _mm256_add_epi8(codes[u - 1], codes[u])));  // at most 2 * 63
          }
        }
        if constexpr (kCodes != Codes::kUnsigned) missing = dot2(missing, less, scale);
      }
      if constexpr (kCodes == Codes::kSigned) missing = _mm256_slli_epi32(missing, 7);  // times 128
      if constexpr (kCodes != Codes::kUnsigned) store(out.missing + 8 * h, missing);
    }
  }

  template <int T, int C>
  DODECA_INLINE static void multiply(const Decoded* w, const Q8Block256* const* x, int, float* acc) {
    const std::int8_t* q[C];
    alignas(64) std::int8_t biased[C][kCodes == Codes::kSigned ? 256 : 1];
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) {
      q[c] = x[c]->q;
      if constexpr (kCodes == Codes::kSigned) {
        for (int k = 0; k < 256; k += 32) store(biased[c] + k, _mm256_xor_si256(load(q[c] + k), bytes(0x80)));
        q[c] = biased[c];
      }
    }
    for (int t = 0; t < T; ++t) {
      __m256i isum[C][2];
      each<C>([&](int c, int h) {
        isum[c][h] = kCodes == Codes::kUnsigned ? _mm256_setzero_si256() : load(w[t].missing + 8 * h);
      });
      for (int i = 0; i < Format::kScales; ++i) add_bytes<C>(w[t], q, i, isum);
      fold_all<T, C>(w[t], x, isum, acc + t * kTileRows);
    }
  }

  // Adds the products of sub-block i times its scale.
  template <int C>
  DODECA_INLINE static void add_bytes(const Decoded& w, const std::int8_t* const* x, int i, __m256i (&isum)[C][2]) {
    constexpr int kSubUnits = 64 / Format::kScales, kUnits = Format::kUnits;
    const std::int8_t* q[C];
#pragma GCC unroll 8
    for (int u = kSubUnits * i; u < kSubUnits * (i + 1); u += kUnits == 1 ? kSubUnits : kUnits) {
#pragma GCC unroll 3
      for (int c = 0; c < C; ++c) q[c] = x[c] + 4 * u;
      if constexpr (kUnits == 1) {
        scaled_byte_sums<kCodes, C, kSubUnits>(w.codes[u], q, {load(w.scales[i]), load(w.scales[i] + 16)}, isum);
      } else {
        __m256i part[C][2];
        byte_sums<kCodes, C, kUnits>(w.codes[u], q, part);
        each<C>([&](int c, int h) { isum[c][h] = dot2(isum[c][h], part[c][h], load(w.scales[i] + 16 * h)); });
      }
    }
  }
  template <int C, class Do>
  DODECA_INLINE static void each(Do&& what) {
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) what(c, h);
    }
  }

  // Whether there are pairs with many rows, too: signed codes are the weights.
  static constexpr bool many_pairs() {
    return Format::kMins != 0 || (Format::kOffset != 0 && kCodes == Codes::kUnsigned);
  }

  template <int T, int C>
  DODECA_INLINE static void fold_all(const Decoded& w, const Q8Block256* const* x, const __m256i (&isum)[C][2],
                                     float* acc) {
    each<C>([&](int c, int h) {
      __m256i psum = _mm256_setzero_si256();
      if constexpr (many_pairs()) {
#pragma GCC unroll 8
        for (int p = 0; p < Format::kScales / 2; ++p) {
          psum = dot2(psum, load(w.pairs[p] + 16 * h), spread(sums(*x[c], p)));
        }
      }
      float* at = acc + c * T * kTileRows + 8 * h;
      __m256 v = fold(_mm256_load_ps(at), _mm256_load_ps(w.d + 8 * h), *x[c],
                      many_pairs() ? corrected(isum[c][h], psum) : isum[c][h]);
      if constexpr (Format::kMins != 0) v = fold_min(v, _mm256_load_ps(w.m + 8 * h), *x[c], psum);
      _mm256_store_ps(at, v);
    });
  }
};

}  // namespace
}  // namespace dodeca::cpu::avx2
