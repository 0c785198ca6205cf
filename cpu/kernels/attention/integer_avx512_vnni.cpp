// Layouts of this variant (dword = 4 bytes along the summed direction with Digits::k8, 2 words with k16 and for rope):
//   queries  [dword of the key][16 lanes]; then [dword of the rope][16 lanes]; k8: then [key block][16 lanes] start sums
//   keys     rows, as loaded, k8 biased by 128 to unsigned: a dword is broadcast from memory
//   values   [64 values][group of 4 or 2 positions][64] dwords: the broadcast side are the weights
// The bias of the keys is taken out by starting each sum at -128 * sum of the query's block.
#include <immintrin.h>

#include <cstring>

#include "cpu/kernels/attention/fetch_ahead.hpp"
#include "cpu/kernels/attention/integer_loads_avx512.hpp"
#include "cpu/kernels/exp_avx512.hpp"

namespace dodeca::cpu::avx512_vnni {
namespace {

using avx512::exp_ps;
using avx512::exp_up_to_highest;

constexpr int kPanelLanes = 2 * kStripLanes;

// acc + the four products of (unsigned a, signed b) bytes, or the two of words, of every lane. Written as instructions
// because g++ 12 copies every accumulator of a loop around the intrinsics.
template <bool kWords>
[[gnu::always_inline]] inline __m512i dot(__m512i acc, __m512i a, __m512i b) {
  if constexpr (kWords)
    asm("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
  else
    asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
  return acc;
}

__m512i broadcast(const void* p) {
  std::int32_t value;
  __builtin_memcpy(&value, p, 4);
  return _mm512_set1_epi32(value);
}

// ---- queries

void pack_queries(const PackQueriesArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  const bool wide = s.digits == Digits::k16;
  // A block at a time: sixteen lanes of at most 128 numbers.
  alignas(64) std::int16_t staged[kStripLanes][kKeyBlock];
  for (std::int64_t first = 0; first < a.n; first += kStripLanes) {
    auto* scale = reinterpret_cast<float*>(a.out + static_cast<std::size_t>(first / kStripLanes) * strip_bytes(s));
    auto* out = reinterpret_cast<std::int32_t*>(scale + kStripLanes * (s.key_blocks() + s.rope_blocks()));
    const std::int64_t lanes = min64(kStripLanes, a.n - first);
    const auto pack = [&](std::int64_t begin, std::int64_t n, bool words) {
      const float* rows[kStripLanes];
      for (std::int64_t lane = 0; lane < lanes; ++lane) rows[lane] = a.q + (first + lane) * a.q_stride + begin;
      quantize_lanes({rows, lanes, n}, words, a.scale, scale, staged);
      const std::int64_t dwords = words ? n / 2 : n / 4;
      interleave_lanes(reinterpret_cast<const std::int32_t*>(staged), dwords, kKeyBlock / 2, out);
      out += dwords * kStripLanes;
      scale += kStripLanes;
    };
    const std::int32_t* key = out;
    for (std::int64_t k = 0; k < s.key; k += kKeyBlock) pack(k, min64(kKeyBlock, s.key - k), wide);
    for (std::int64_t k = 0; k < s.rope; k += kRopeBlock) pack(s.key + k, min64(kRopeBlock, s.rope - k), true);
    for (std::int64_t k = 0; !wide && k < s.key; k += kKeyBlock, out += kStripLanes) {
      __m512i sum = _mm512_setzero_si512();
      for (std::int64_t i = k; i < min64(s.key, k + kKeyBlock); i += 4)
        sum = dot<false>(sum, _mm512_set1_epi8(1), _mm512_load_si512(key + i / 4 * kStripLanes));
      _mm512_store_si512(out, _mm512_mullo_epi32(sum, _mm512_set1_epi32(-128)));
    }
  }
}

// ---- products

// kStrips strips of queries x kPositions positions. 12 exact sums and 12 scores stay in registers. Positions past the
// chunk's last may be touched: rows of the next part of the chunk.
template <bool kWide, int kStrips>
struct ScoreTile {
  static constexpr int kPositions = 12 / kStrips;
  const IntegerShape& shape;
  const std::byte* queries;
  const Chunk& chunk;

  // score[v][p] = s * key scale.
  [[gnu::always_inline]] void keys(std::int64_t first, __m512 (&score)[kStrips][kPositions]) const {
    const std::byte* q = queries + 64 * (shape.key_blocks() + shape.rope_blocks());
    const std::int64_t row_bytes = kWide ? 2 * shape.key : shape.key;
    const std::byte* rows = chunk.keys + first * row_bytes;
    for (auto& strip : score) {
      for (__m512& s : strip) s = _mm512_setzero_ps();
    }
    for (std::int64_t b = 0; b < shape.key_blocks(); ++b) {
      const std::int64_t width = min64(kKeyBlock, shape.key - b * kKeyBlock), dwords = kWide ? width / 2 : width / 4;
      __m512i acc[kStrips][kPositions];
      for (int v = 0; v < kStrips; ++v) {
        const __m512i start = kWide ? _mm512_setzero_si512() : _mm512_load_si512(start_of(v, b));
        for (__m512i& sum : acc[v]) sum = start;
      }
      products<kWide>(acc, q, rows, row_bytes, dwords);
      for (int v = 0; v < kStrips; ++v) {
        const __m512 scale = scale_of(v, b);
        for (int p = 0; p < kPositions; ++p)
          score[v][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[v][p]), scale, score[v][p]);
      }
      q += dwords * 64;
      rows += dwords * 4;
    }
    for (int p = 0; p < kPositions; ++p) {
      const __m512 scale = _mm512_set1_ps(chunk.key_scale[first + p]);
      for (int v = 0; v < kStrips; ++v) score[v][p] = _mm512_mul_ps(score[v][p], scale);
    }
  }
  // Adds the rope part.
  [[gnu::always_inline]] void ropes(std::int64_t first, __m512 (&score)[kStrips][kPositions]) const {
    const std::byte* q = queries + 64 * (shape.key_blocks() + shape.rope_blocks() + shape.key / (kWide ? 2 : 4));
    const auto* rows = reinterpret_cast<const std::byte*>(chunk.rope + first * shape.rope);
    for (std::int64_t b = 0; b < shape.rope_blocks(); ++b) {
      const std::int64_t dwords = min64(kRopeBlock, shape.rope - b * kRopeBlock) / 2;
      __m512i acc[kStrips][kPositions];
      for (auto& strip : acc) {
        for (__m512i& sum : strip) sum = _mm512_setzero_si512();
      }
      products<true>(acc, q, rows, 2 * shape.rope, dwords);
      for (int p = 0; p < kPositions; ++p) {
        const __m512 scale = _mm512_set1_ps(chunk.rope_scale[first + p]);
        for (int v = 0; v < kStrips; ++v) {
          const __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[v][p]), scale);
          score[v][p] = _mm512_fmadd_ps(sum, scale_of(v, shape.key_blocks() + b), score[v][p]);
        }
      }
      q += dwords * 64;
      rows += dwords * 4;
    }
  }

 private:
  [[gnu::always_inline]] __m512 scale_of(int v, std::int64_t block) const {
    const std::byte* strip = queries + static_cast<std::size_t>(v) * strip_bytes(shape);
    return _mm512_load_ps(reinterpret_cast<const float*>(strip) + 16 * block);
  }
  // Behind the dwords of key and rope.
  [[gnu::always_inline]] const std::byte* start_of(int v, std::int64_t block) const {
    const std::int64_t vectors = shape.key_blocks() + shape.rope_blocks() + shape.key / 4 + shape.rope / 2 + block;
    return queries + static_cast<std::size_t>(v) * strip_bytes(shape) + 64 * vectors;
  }
  template <bool kWords>
  [[gnu::always_inline]] void products(__m512i (&acc)[kStrips][kPositions], const std::byte* q, const std::byte* rows,
                                       std::int64_t row_bytes, std::int64_t dwords) const {
    const std::size_t strip = strip_bytes(shape);
    for (std::int64_t k = 0; k < dwords; ++k) {
      __m512i query[kStrips];
      for (int v = 0; v < kStrips; ++v) query[v] = _mm512_load_si512(q + static_cast<std::size_t>(v) * strip + k * 64);
      for (int p = 0; p < kPositions; ++p) {
        const __m512i key = broadcast(rows + p * row_bytes + 4 * k);
        for (int v = 0; v < kStrips; ++v) acc[v][p] = dot<kWords>(acc[v][p], key, query[v]);
      }
    }
  }
};

// The blocks that come next, a few lines per tile of scores.
FetchAhead ahead_of(const FoldArgs& a) {
  const std::int64_t panels = (a.n_lanes + kPanelLanes - 1) / kPanelLanes, positions = a.n_lanes > kStripLanes ? 6 : 12;
  return {a.ahead, a.n_ahead, a.ahead_bytes, panels * (a.n / positions + 1)};
}

// One or two strips of lanes against a whole chunk; kWide: its weights and values are words.
template <bool kWideKeys, bool kWide, int kStrips>
class Panel {
  static constexpr int kLanes = kStrips * kStripLanes;
  static constexpr int kTogether = kWide ? 2 : 4;  // positions in a dword
  static constexpr int kGroups = kWeightBlock / kTogether;
  static constexpr int kBlocks = kChunkPositions / kWeightBlock;

 public:
  Panel(const FoldArgs& a, std::int64_t first)
      : a_(a),
        chunk_(a.shape, a.chunk),
        first_(first),
        n_lanes_(min64(kLanes, a.n_lanes - first)),
        begin_(first_block_seen(a.hidden == nullptr ? nullptr : a.hidden + first, n_lanes_)),
        n_(most_visible(a.visible + first, n_lanes_)) {}

  void run(FetchAhead& ahead) {
    if (n_ == 0) return;
    const std::byte* queries = a_.queries + static_cast<std::size_t>(first_ / kStripLanes) * strip_bytes(a_.shape);
    const Tile tile{a_.shape, queries, chunk_};
    for (std::int64_t p = begin_; p < n_; p += tile.kPositions) {
      score_tile(tile, p);
      ahead.step();
    }
    for (int v = 0; v < kStrips; ++v) {
      if (all_visible(v))
        soften<true>(v);
      else
        soften<false>(v);
    }
    const std::int64_t blocks = (n_ + kWeightBlock - 1) / kWeightBlock;
    for (std::int64_t v = 0; v < a_.shape.value; v += kTileValues) {
      const std::byte* values = chunk_.values + v * 4 * (kChunkPositions / kTogether);
      switch (min64(kTileValues, a_.shape.value - v) / 16) {
        case 1:
          value_tile<1>(values, v, blocks);
          break;
        case 2:
          value_tile<2>(values, v, blocks);
          break;
        case 3:
          value_tile<3>(values, v, blocks);
          break;
        default:
          value_tile<4>(values, v, blocks);
      }
    }
  }

 private:
  using Tile = ScoreTile<kWideKeys, kStrips>;
  [[gnu::noinline]] void score_tile(const Tile& tile, std::int64_t first) {
    __m512 score[kStrips][Tile::kPositions];
    tile.keys(first, score);
    tile.ropes(first, score);
    for (int p = 0; p < Tile::kPositions; ++p) {
      for (int v = 0; v < kStrips; ++v) _mm512_store_ps(&scores_[first + p][v * kStripLanes], score[v][p]);
    }
  }

  // A chunk in whole weight blocks that all lanes of the strip see: nothing has to be masked.
  bool all_visible(int strip) const {
    const std::int64_t lane0 = first_ + strip * kStripLanes;
    if (n_ % kWeightBlock != 0 || lane0 + kStripLanes > a_.n_lanes) return false;
    const __m512i visible = _mm512_loadu_si512(a_.visible + lane0);
    if (a_.hidden != nullptr) {
      const __m512i hidden = _mm512_loadu_si512(a_.hidden + lane0);
      if (_mm512_cmpgt_epi32_mask(hidden, _mm512_set1_epi32(static_cast<int>(begin_))) != 0) return false;
    }
    return _mm512_cmplt_epi32_mask(visible, _mm512_set1_epi32(static_cast<int>(n_))) == 0;
  }

  // Scores of a strip to weights; the state's maximum and sum.
  template <bool kAll>
  void soften(int strip) {
    const std::int64_t lane0 = first_ + strip * kStripLanes;
    const __mmask16 lanes = mask_of(a_.n_lanes - lane0 < 0 ? 0 : a_.n_lanes - lane0);
    const __m512i visible = _mm512_maskz_loadu_epi32(lanes, a_.visible + lane0);
    const __m512i hidden =
        a_.hidden == nullptr ? _mm512_setzero_si512() : _mm512_maskz_loadu_epi32(lanes, a_.hidden + lane0);
    const auto sees = [&](std::int64_t i) -> __mmask16 {
      if constexpr (kAll) return 0xffff;
      const __m512i at = _mm512_set1_epi32(static_cast<int>(i));
      return _mm512_mask_cmple_epi32_mask(_mm512_cmpgt_epi32_mask(visible, at), hidden, at);
    };
    const __m512 old = _mm512_maskz_loadu_ps(lanes, a_.max + lane0);
    __m512 max = _mm512_set1_ps(-__builtin_inff());
    for (std::int64_t i = begin_; i < n_; ++i)
      max = _mm512_mask_max_ps(max, sees(i), _mm512_load_ps(score(i, strip)), max);
    __m512 sum = _mm512_setzero_ps();
    const __m512 top = _mm512_set1_ps(kWide ? kMostWord : kByteWeightTop), one = _mm512_set1_ps(1.0f);
    for (std::int64_t begin = begin_, b = begin_ / kWeightBlock; begin < n_; begin += kWeightBlock, ++b) {
      __m512 largest = _mm512_setzero_ps(), reach = _mm512_setzero_ps();
      for (std::int64_t i = begin; i < begin + kWeightBlock; ++i) {
        const __mmask16 seen = sees(i);
        const __m512 p = exp_up_to_highest(_mm512_sub_ps(_mm512_load_ps(score(i, strip)), max));
        sum = _mm512_mask_add_ps(sum, seen, sum, p);
        const __m512 w = _mm512_maskz_mul_ps(seen, p, _mm512_set1_ps(chunk_.value_scale[i]));
        if constexpr (kWide) reach = _mm512_mask3_fmadd_ps(p, _mm512_set1_ps(chunk_.value_reach[i]), reach, seen);
        largest = _mm512_max_ps(w, largest);
        _mm512_store_ps(score(i, strip), w);
      }
      const __mmask16 positive = _mm512_cmp_ps_mask(largest, _mm512_setzero_ps(), _CMP_GT_OQ);
      const __m512 step =
          _mm512_max_ps(_mm512_div_ps(largest, top), _mm512_div_ps(reach, _mm512_set1_ps(kWeightedSum)));
      const __m512 inverse = _mm512_maskz_div_ps(positive, one, step);
      _mm512_store_ps(&scale_[b][strip * kStripLanes], step);
      for (int g = 0; g < kGroups; ++g) {
        __m512i part[kTogether];
#pragma GCC unroll 4
        for (int j = 0; j < kTogether; ++j) {
          __m512 w = _mm512_mul_ps(_mm512_load_ps(score(begin + g * kTogether + j, strip)), inverse);
          w = _mm512_min_ps(_mm512_max_ps(w, _mm512_setzero_ps()), top);  // NaN becomes 0
          part[j] = _mm512_slli_epi32(_mm512_cvtps_epi32(w), (kWide ? 16u : 8u) * static_cast<unsigned>(j));
        }
        __m512i packed = _mm512_or_si512(part[0], part[1]);
        if constexpr (kTogether == 4) packed = _mm512_ternarylogic_epi32(packed, part[2], part[3], 0xfe);
        _mm512_store_si512(&weights_[b * kGroups + g][strip * kStripLanes], packed);
      }
    }
    const __m512 both = _mm512_max_ps(max, old);
    const __m512 before =
        _mm512_mask_mov_ps(exp_ps(_mm512_sub_ps(old, both)), _mm512_cmp_ps_mask(old, both, _CMP_EQ_OQ), one);
    const __m512 now =
        _mm512_mask_mov_ps(exp_ps(_mm512_sub_ps(max, both)), _mm512_cmp_ps_mask(max, both, _CMP_EQ_OQ), one);
    _mm512_store_ps(before_ + strip * kStripLanes, before);
    _mm512_store_ps(now_ + strip * kStripLanes, now);
    _mm512_mask_storeu_ps(a_.max + lane0, lanes, both);
    const __m512 old_sum = _mm512_maskz_loadu_ps(lanes, a_.sum + lane0);
    _mm512_mask_storeu_ps(a_.sum + lane0, lanes,
                          _mm512_add_ps(_mm512_mul_ps(old_sum, before), _mm512_mul_ps(sum, now)));
  }

  float* score(std::int64_t position, int strip) { return &scores_[position][strip * kStripLanes]; }

  // 16 * kVectors values of all lanes, four lanes at a time.
  template <int kVectors>
  [[gnu::noinline]] void value_tile(const std::byte* values, std::int64_t v0, std::int64_t blocks) {
    std::memset(tile_, 0, sizeof tile_);
    values += begin_ / kTogether * kTileValues * 4;
    for (std::int64_t b = begin_ / kWeightBlock; b < blocks; ++b, values += kGroups * kTileValues * 4) {
      for (std::int64_t lane = 0; lane < n_lanes_; lane += 4) {
        __m512i acc[4][kVectors];
        for (auto& row : acc) {
          for (__m512i& sum : row) sum = _mm512_setzero_si512();
        }
        const std::int32_t* weight = &weights_[b * kGroups][lane];
        const std::byte* value = values;
        for (int g = 0; g < kGroups; ++g, weight += kLanes, value += kTileValues * 4) {
          __m512i column[kVectors];
          for (int i = 0; i < kVectors; ++i) column[i] = _mm512_load_si512(value + 64 * i);
          for (int l = 0; l < 4; ++l) {
            const __m512i w = broadcast(weight + l);
            for (int i = 0; i < kVectors; ++i) acc[l][i] = dot<kWide>(acc[l][i], w, column[i]);
          }
        }
        for (int l = 0; l < 4; ++l) {
          const __m512 scale = _mm512_set1_ps(scale_[b][lane + l]);
          float* to = tile_[lane + l];
          for (int i = 0; i < kVectors; ++i) {
            const __m512 sum = _mm512_cvtepi32_ps(acc[l][i]);
            _mm512_store_ps(to + 16 * i, _mm512_fmadd_ps(sum, scale, _mm512_load_ps(to + 16 * i)));
          }
        }
      }
    }
    for (std::int64_t lane = 0; lane < n_lanes_; ++lane) {
      float* acc = a_.acc + (first_ + lane) * a_.acc_stride + v0;
      const __m512 before = _mm512_set1_ps(before_[lane]), now = _mm512_set1_ps(now_[lane]);
      for (int i = 0; i < kVectors; ++i) {
        const __m512 old = _mm512_mul_ps(_mm512_loadu_ps(acc + 16 * i), before);
        _mm512_storeu_ps(acc + 16 * i, _mm512_add_ps(old, _mm512_mul_ps(_mm512_load_ps(tile_[lane] + 16 * i), now)));
      }
    }
  }

  const FoldArgs& a_;
  const Chunk chunk_;
  const std::int64_t first_, n_lanes_;
  const std::int64_t begin_, n_;  // positions that any of the lanes sees
  alignas(64) float scores_[kChunkPositions + Tile::kPositions][kLanes];
  alignas(64) std::int32_t weights_[kChunkPositions / kTogether][kLanes];
  alignas(64) float tile_[kLanes][kTileValues];
  alignas(64) float scale_[kBlocks][kLanes];
  alignas(64) float before_[kLanes], now_[kLanes];
};

template <bool kWideKeys, bool kWideValues>
void fold_panels(const FoldArgs& a) {
  FetchAhead ahead = ahead_of(a);
  for (std::int64_t first = 0; first < a.n_lanes; first += kPanelLanes) {
    if (a.n_lanes - first > kStripLanes)
      Panel<kWideKeys, kWideValues, 2>(a, first).run(ahead);
    else
      Panel<kWideKeys, kWideValues, 1>(a, first).run(ahead);
  }
}

void fold(const FoldArgs& a) noexcept {
  const bool wide = a.shape.digits == Digits::k16;
  if (a.shape.value_digits == Digits::k16)
    wide ? fold_panels<true, true>(a) : fold_panels<false, true>(a);
  else
    wide ? fold_panels<true, false>(a) : fold_panels<false, false>(a);
}

template <bool kWide, int kStrips>
void project_strips(const ProjectArgs& a, const Chunk& chunk, std::int64_t lane) {
  using Tile = ScoreTile<kWide, kStrips>;
  const IntegerShape shape = without_rope(a.shape);
  const Tile tile{shape, a.queries + static_cast<std::size_t>(lane / kStripLanes) * strip_bytes(shape), chunk};
  for (std::int64_t first = 0; first < a.n; first += Tile::kPositions) {
    __m512 score[kStrips][Tile::kPositions];
    tile.keys(first, score);
    for (int p = 0; p < Tile::kPositions; ++p) {
      if (first + p >= a.n) break;
      for (int v = 0; v < kStrips; ++v)
        _mm512_storeu_ps(a.out + (first + p) * a.out_stride + lane + v * kStripLanes, score[v][p]);
    }
  }
}

template <bool kWide>
void project_panels(const ProjectArgs& a) {
  const Chunk chunk(a.shape, a.chunk);
  std::int64_t lane = 0;
  for (; lane + kPanelLanes <= a.n_lanes; lane += kPanelLanes) project_strips<kWide, 2>(a, chunk, lane);
  if (lane < a.n_lanes) project_strips<kWide, 1>(a, chunk, lane);
}

void project(const ProjectArgs& a) noexcept {
  a.shape.digits == Digits::k16 ? project_panels<true>(a) : project_panels<false>(a);
}

}  // namespace

constinit const IntegerAttention kIntegerAttention{pack_queries, load_cache, load_head, load_rows, project, fold};

}  // namespace dodeca::cpu::avx512_vnni
