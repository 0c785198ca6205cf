// This variant keeps words whatever the digits: a product of byte pairs saturates, one of word pairs does not, and both
// cost the same. Layouts (dword = 2 words along the summed direction):
//   queries  [dword][16 lanes]
//   keys     rows: a dword is broadcast from memory
//   values   [64 values][pair of positions][64] dwords: the broadcast side are the weights
#include <immintrin.h>

#include <cstring>

#include "cpu/kernels/attention/integer_chunk.hpp"
#include "cpu/kernels/attention/words.hpp"
#include "cpu/kernels/exp_avx2.hpp"

namespace dodeca::cpu::avx2 {
namespace {

constexpr int kTileValues = 64;
constexpr int kPairs = kWeightBlock / 2;
constexpr int kBlocks = kChunkPositions / kWeightBlock;

__m256i load(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }
__m256i broadcast(const void* p) {
  std::int32_t value;
  __builtin_memcpy(&value, p, 4);
  return _mm256_set1_epi32(value);
}
__m256i dot(__m256i acc, __m256i a, __m256i b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }

// The largest magnitude as an integer, and the sum of squares of words.hpp.
struct Extent {
  std::int32_t amax_bits = 0;
  float squares = 0.0f;

  void add(const Extent& block) {
    amax_bits = block.amax_bits > amax_bits ? block.amax_bits : amax_bits;
    squares = block.squares > squares ? block.squares : squares;
  }
};

// n even; a last vector may be partial.
Extent extent_of(const float* x, std::int64_t n) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i max = _mm256_setzero_si256();
  __m256 squares[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int half = 0; half < 2; ++half) {
      const __m256 v = _mm256_loadu_ps(x + i + 8 * half);
      max = _mm256_max_epi32(max, _mm256_and_si256(_mm256_castps_si256(v), magnitude));
      squares[half] = _mm256_fmadd_ps(v, v, squares[half]);
    }
  }
  __m128i most = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
  most = _mm_max_epi32(most, _mm_unpackhi_epi64(most, most));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 1));
  Extent extent;
  extent.amax_bits = _mm_cvtsi128_si32(most);
  if (i < n) {
    alignas(32) float lane[16];
    _mm256_store_ps(lane, squares[0]);
    _mm256_store_ps(lane + 8, squares[1]);
    extent.amax_bits = amax_bits_of(x + i, n - i, extent.amax_bits);
    for (; i < n; ++i) lane[i % 16] = std::fma(x[i], x[i], lane[i % 16]);
    extent.squares = combine_lanes(lane);
    return extent;
  }
  const __m256 eight = _mm256_add_ps(squares[0], squares[1]);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  extent.squares = _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  return extent;
}

Extent extent_of_blocks(const float* x, std::int64_t n, std::int64_t block) {
  Extent extent;
  for (std::int64_t k = 0; k < n; k += block) extent.add(extent_of(x + k, min64(block, n - k)));
  return extent;
}

// n even; a last vector may be partial.
float to_words(const float* x, std::int64_t n, const GroupScale& group, std::int16_t* q) {
  if (group.factor == 0.0f) {
    std::memset(q, 0, static_cast<std::size_t>(n) * sizeof *q);
    return group.scale;
  }
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i v = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(group.factor)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + i),
                     _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
  }
  for (; i < n; ++i) q[i] = static_cast<std::int16_t>(_mm_cvtss_si32(_mm_set_ss(x[i] * group.factor)));
  return group.scale;
}

// Bytes are kept as words, too.
float quantize(Digits digits, const float* x, std::int64_t n, std::int64_t block, std::int16_t* q) {
  if (digits == Digits::k8) return to_words(x, n, group_scale(extent_of(x, n).amax_bits, kByteTop), q);
  const Extent extent = extent_of_blocks(x, n, block);
  return to_words(x, n, word_scale(extent.amax_bits, extent.squares), q);
}

using Chunk = ChunkOf<std::int16_t, std::byte>;

void pack_queries(const PackQueriesArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  std::int16_t staged[kKeyBlock];
  for (std::int64_t lane = 0; lane < (a.n + kStripLanes - 1) / kStripLanes * kStripLanes; ++lane) {
    auto* scale = reinterpret_cast<float*>(a.out + static_cast<std::size_t>(lane / kStripLanes) * strip_bytes(s));
    auto* out =
        reinterpret_cast<std::int32_t*>(scale + kStripLanes * (s.key_blocks() + s.rope_blocks())) + lane % kStripLanes;
    scale += lane % kStripLanes;
    const auto pack = [&](Digits digits, std::int64_t begin, std::int64_t n) {
      *scale = 0.0f;
      if (lane < a.n)
        *scale = a.scale * quantize(digits, a.q + lane * a.q_stride + begin, n, n, staged);
      else
        std::memset(staged, 0, sizeof staged);
      scale += kStripLanes;
      for (std::int64_t k = 0; k < n; k += 2, out += kStripLanes) std::memcpy(out, staged + k, 4);
    };
    for (std::int64_t k = 0; k < s.key; k += kKeyBlock) pack(s.digits, k, min64(kKeyBlock, s.key - k));
    for (std::int64_t k = 0; k < s.rope; k += kRopeBlock) pack(Digits::k16, s.key + k, min64(kRopeBlock, s.rope - k));
  }
}

// kRowsAtOnce rows of words, `stride` words apart, into the layout of the values from their place on; the first n are
// there, the others get weights of 0.
void interleave_values(const std::int16_t* rows, std::int64_t stride, const IntegerShape& s, std::int64_t n,
                       std::byte* out) {
  for (std::int64_t v = 0; v < s.value; v += kTileValues) {
    std::byte* to_tile = out + v * 4 * (kChunkPositions / 2);
    for (std::int64_t i = 0; i < kRowsAtOnce; i += 2, to_tile += kTileValues * 4) {
      for (std::int64_t j = 0; j < min64(kTileValues, s.value - v); j += 16) {
        const std::int16_t* at = rows + i * stride + v + j;
        const __m256i row0 = i < n ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)) : _mm256_setzero_si256();
        const __m256i row1 =
            i + 1 < n ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + stride)) : _mm256_setzero_si256();
        const __m256i low = _mm256_unpacklo_epi16(row0, row1), high = _mm256_unpackhi_epi16(row0, row1);
        auto* to = reinterpret_cast<__m256i*>(to_tile + 4 * j);
        _mm256_store_si256(to, _mm256_permute2x128_si256(low, high, 0x20));
        _mm256_store_si256(to + 1, _mm256_permute2x128_si256(low, high, 0x31));
      }
    }
  }
}

// make(i) for each of n rows, whose words go to `rows`, `stride` words apart; then their copy in the layout of the values,
// up to a whole weight block, while they are still in L1.
template <class Make>
void make_rows(const IntegerShape& s, std::int64_t n, const std::int16_t* rows, std::int64_t stride, std::byte* values,
               Make&& make) {
  const std::int64_t padded = (n + kWeightBlock - 1) / kWeightBlock * kWeightBlock;
  for (std::int64_t first = 0; first < padded; first += kRowsAtOnce) {
    const std::int64_t end = min64(n, first + kRowsAtOnce);
    for (std::int64_t i = first; i < end; ++i) make(i);
    interleave_values(rows + first * stride, stride, s, end - first, values + first / 2 * kTileValues * 4);
  }
}

// Words of a row of bytes.
void widen(const std::byte* row, std::int64_t n, std::int16_t* out) {
  for (std::int64_t k = 0; k < n; k += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + k));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + k), _mm256_cvtepi8_epi16(bytes));
  }
}

// Numbers [k, k + n) of a cache row; n and k are multiples of 32 in rows of Q8_0.
void to_floats(quant::DType dtype, const std::byte* row, std::int64_t k, std::int64_t n, float* out) {
  if (dtype == quant::DType::kQ8_0) {
    constexpr std::int64_t kBlock = 32, kBlockBytes = 34;
    for (const std::byte* block = row + k / kBlock * kBlockBytes; n > 0; n -= kBlock, block += kBlockBytes) {
      std::int16_t half;
      __builtin_memcpy(&half, block, 2);
      const __m256 scale = _mm256_set1_ps(_cvtsh_ss(static_cast<unsigned short>(half)));
      for (std::int64_t i = 0; i < kBlock; i += 8, out += 8) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + 2 + i));
        _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), scale));
      }
    }
    return;
  }
  for (std::int64_t i = 0; i < n; i += 8) {
    const std::byte* from = row + 2 * (k + i);
    __m128i half = _mm_setzero_si128();
    if (n - i >= 8)
      half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    else
      std::memcpy(&half, from, static_cast<std::size_t>(2 * (n - i)));
    const __m256 wide = dtype == quant::DType::kF16
                            ? _mm256_cvtph_ps(half)
                            : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    _mm256_storeu_ps(out + i, wide);
  }
}

GroupScale word_group(const Extent& extent) { return word_scale(extent.amax_bits, extent.squares); }
GroupScale value_group(const Extent& extent) { return group_scale(extent.amax_bits, kValueTop); }

// A part of a cache row as words: the extent first. Wide ones are decoded twice, in blocks. Returns the largest as a float.
template <GroupScale (*kGroup)(const Extent&)>
float cached_words(const RowPart& from, std::int16_t* q, float* scale) {
  const auto [dtype, row, begin, n, block] = from;
  alignas(32) float floats[kDecodedOnce];
  Extent extent;
  if (n <= kDecodedOnce) {
    to_floats(dtype, row, begin, n, floats);
    extent = extent_of_blocks(floats, n, block);
    *scale = to_words(floats, n, kGroup(extent), q);
    return std::bit_cast<float>(extent.amax_bits);
  }
  for (std::int64_t k = 0; k < n; k += block) {
    const std::int64_t width = min64(block, n - k);
    to_floats(dtype, row, begin + k, width, floats);
    extent.add(extent_of(floats, width));
  }
  const GroupScale group = kGroup(extent);
  for (std::int64_t k = 0; k < n; k += block) {
    const std::int64_t width = min64(block, n - k);
    to_floats(dtype, row, begin + k, width, floats);
    to_words(floats, width, group, q + k);
  }
  *scale = group.scale;
  return std::bit_cast<float>(extent.amax_bits);
}

void load_cache(const LoadCacheArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  const Chunk to(s, a.chunk);
  const auto make = [&](std::int64_t i) {
    const std::byte* row = cached_row(a.blocks, a.row_bytes, i);
    if (s.digits == Digits::k8) {
      __builtin_memcpy(to.key_scale + i, row, 4);
      __builtin_memcpy(to.rope_scale + i, row + 4, 4);
      widen(row + 8, s.key, to.keys + i * s.key);
      std::memcpy(to.rope + i * s.rope, row + 8 + s.key, static_cast<std::size_t>(2 * s.rope));
    } else {
      to.value_reach[i] =
          cached_words<word_group>({a.dtype, row, 0, s.key, kKeyBlock}, to.keys + i * s.key, to.key_scale + i);
      cached_words<word_group>({a.dtype, row, s.key, s.rope, kRopeBlock}, to.rope + i * s.rope, to.rope_scale + i);
    }
    to.value_scale[i] = to.key_scale[i];
  };
  make_rows(s, a.n, to.keys, s.key, to.values, make);
}

void load_head(const LoadHeadArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  const Chunk to(s, a.chunk), from(a.rope_shape, a.rope_from);
  const float top = s.value_digits == Digits::k8 ? kByteTop : kValueTop;
  // Quantized values wait where the keys will be.
  const auto make = [&](std::int64_t i) {
    const float* values = a.values + i * a.stride;
    const GroupScale group = group_scale(extent_of(values, s.value).amax_bits, top);
    to.value_scale[i] = to_words(values, s.value, group, to.keys + i * s.value);
    to.value_reach[i] = to.value_scale[i] * top;
  };
  make_rows(s, a.n, to.keys, s.value, to.values, make);
  for (std::int64_t i = 0; i < a.n; ++i)
    to.key_scale[i] = quantize(s.digits, a.keys + i * a.stride, s.key, kKeyBlock, to.keys + i * s.key);
  std::memcpy(to.rope_scale, from.rope_scale, static_cast<std::size_t>(a.n) * sizeof(float));
  std::memcpy(to.rope, from.rope, static_cast<std::size_t>(2 * a.n * s.rope));
}

void load_rows(const LoadRowsArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  const Chunk to(s, a.chunk);
  // Values in words wait where the keys will be.
  const auto make_value = [&](std::int64_t i) {
    const std::byte* row = cached_row(a.values, a.value_bytes, i);
    std::int16_t* q = to.keys + i * s.value;
    if (s.value_digits == Digits::k8) {
      __builtin_memcpy(to.value_scale + i, row, 4);
      return widen(row + 8, s.value, q);
    }
    to.value_reach[i] = cached_words<value_group>({a.value_dtype, row, 0, s.value, kKeyBlock}, q, to.value_scale + i);
  };
  make_rows(s, a.n, to.keys, s.value, to.values, make_value);
  for (std::int64_t i = 0; i < a.n; ++i) {
    const std::byte* row = cached_row(a.keys, a.key_bytes, i);
    std::int16_t* q = to.keys + i * s.key;
    if (s.digits == Digits::k8) {
      __builtin_memcpy(to.key_scale + i, row, 4);
      widen(row + 8, s.key, q);
    } else {
      cached_words<word_group>({a.key_dtype, row, 0, s.key, kKeyBlock}, q, to.key_scale + i);
    }
  }
}

// One strip of queries x 4 positions, into out[position][16 lanes]. Positions past the chunk's last may be touched:
// rows of the next part of the chunk.
struct ScoreTile {
  static constexpr int kPositions = 4;
  const IntegerShape& shape;
  const std::byte* queries;
  const Chunk& chunk;
  float* out;
  std::int64_t out_stride;

  void keys(std::int64_t first) const {
    const std::byte* q = queries + 64 * (shape.key_blocks() + shape.rope_blocks());
    for (std::int64_t b = 0; b < shape.key_blocks(); ++b, q += 32 * kKeyBlock) {
      const std::int64_t dwords = min64(kKeyBlock, shape.key - b * kKeyBlock) / 2;
      const float* scale = b + 1 == shape.key_blocks() ? chunk.key_scale + first : nullptr;
      block<Part::kKey>(first, b, q, chunk.keys + first * shape.key + b * kKeyBlock, dwords, scale);
    }
  }
  void ropes(std::int64_t first) const {
    const std::byte* q = queries + 64 * (shape.key_blocks() + shape.rope_blocks()) + 32 * shape.key;
    for (std::int64_t b = 0; b < shape.rope_blocks(); ++b, q += 32 * kRopeBlock) {
      const std::int64_t dwords = min64(kRopeBlock, shape.rope - b * kRopeBlock) / 2;
      block<Part::kRope>(first, shape.key_blocks() + b, q, chunk.rope + first * shape.rope + b * kRopeBlock, dwords,
                         chunk.rope_scale + first);
    }
  }

 private:
  enum class Part { kKey, kRope };

  // One block of the summed direction. A position's scale multiplies all sums so far of its key, in the last block (null
  // in the others), but only the block's own sums of its rope.
  template <Part kPart>
  [[gnu::noinline]] void block(std::int64_t first, std::int64_t b, const std::byte* q, const std::int16_t* rows,
                               std::int64_t dwords, const float* position_scale) const {
    const std::int64_t stride = kPart == Part::kKey ? shape.key : shape.rope;
    __m256i acc[kPositions][2];
    for (auto& row : acc) row[0] = row[1] = _mm256_setzero_si256();
    for (std::int64_t k = 0; k < dwords; ++k, q += 64) {
      const __m256i low = load(q), high = load(q + 32);
      for (int p = 0; p < kPositions; ++p) {
        const __m256i key = broadcast(rows + p * stride + 2 * k);
        acc[p][0] = dot(acc[p][0], low, key);
        acc[p][1] = dot(acc[p][1], high, key);
      }
    }
    const auto* scale = reinterpret_cast<const float*>(queries) + 16 * b;
    for (int p = 0; p < kPositions; ++p) {
      for (int v = 0; v < 2; ++v) {
        float* to = out + (first + p) * out_stride + 8 * v;
        __m256 sum = _mm256_cvtepi32_ps(acc[p][v]);
        if (kPart == Part::kRope) sum = _mm256_mul_ps(sum, _mm256_set1_ps(position_scale[p]));
        sum = _mm256_fmadd_ps(sum, _mm256_load_ps(scale + 8 * v), b == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(to));
        if (kPart == Part::kKey && position_scale != nullptr)
          sum = _mm256_mul_ps(sum, _mm256_set1_ps(position_scale[p]));
        _mm256_storeu_ps(to, sum);
      }
    }
  }
};

// One strip of lanes against a whole chunk.
class Strip {
 public:
  Strip(const FoldArgs& a, std::int64_t first)
      : a_(a),
        chunk_(a.shape, a.chunk),
        first_(first),
        n_lanes_(min64(kStripLanes, a.n_lanes - first)),
        begin_(first_block_seen(a.hidden == nullptr ? nullptr : a.hidden + first, n_lanes_)),
        n_(most_visible(a.visible + first, n_lanes_)) {}

  void run() {
    if (n_ == 0) return;
    const std::byte* queries = a_.queries + static_cast<std::size_t>(first_ / kStripLanes) * strip_bytes(a_.shape);
    const ScoreTile tile{a_.shape, queries, chunk_, scores_[0], kStripLanes};
    for (std::int64_t p = begin_; p < n_; p += ScoreTile::kPositions) {
      tile.keys(p);
      tile.ropes(p);
    }
    alignas(32) std::int32_t visible[kStripLanes] = {}, hidden[kStripLanes] = {};
    alignas(32) float max[kStripLanes] = {}, sum[kStripLanes] = {};
    std::memcpy(visible, a_.visible + first_, static_cast<std::size_t>(n_lanes_) * sizeof *visible);
    if (a_.hidden != nullptr)
      std::memcpy(hidden, a_.hidden + first_, static_cast<std::size_t>(n_lanes_) * sizeof *hidden);
    std::memcpy(max, a_.max + first_, static_cast<std::size_t>(n_lanes_) * sizeof *max);
    std::memcpy(sum, a_.sum + first_, static_cast<std::size_t>(n_lanes_) * sizeof *sum);
    const Seen low{load(hidden), load(visible)}, high{load(hidden + 8), load(visible + 8)};
    if (a_.masks == nullptr) {
      soften<false>(0, low, max, sum);
      soften<false>(8, high, max + 8, sum + 8);
    } else {
      soften<true>(0, low, max, sum);
      soften<true>(8, high, max + 8, sum + 8);
    }
    std::memcpy(a_.max + first_, max, static_cast<std::size_t>(n_lanes_) * sizeof *max);
    std::memcpy(a_.sum + first_, sum, static_cast<std::size_t>(n_lanes_) * sizeof *sum);
    for (std::int64_t v = 0; v < a_.shape.value; v += kTileValues)
      values(chunk_.values + v * 4 * (kChunkPositions / 2), v, min64(kTileValues, a_.shape.value - v));
  }

 private:
  // The positions that eight lanes see: from the first number to the second.
  struct Seen {
    __m256i hidden, visible;
  };
  static __m256 seen(const Seen& lanes, std::int64_t position) {
    const __m256i at = _mm256_set1_epi32(static_cast<int>(position));
    return _mm256_castsi256_ps(
        _mm256_andnot_si256(_mm256_cmpgt_epi32(lanes.hidden, at), _mm256_cmpgt_epi32(lanes.visible, at)));
  }

  // Of the eight lanes from `lane` on, those that a position counts for.
  template <bool kMasked>
  __m256 counted(int lane, const Seen& visible, std::int64_t position) const {
    const __m256 mask = seen(visible, position);
    if (!kMasked || position >= n_) return mask;
    const int bits = a_.masks[first_ / kStripLanes * a_.mask_stride + position] >> lane;
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_and_ps(mask,
                         _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits), bit), bit)));
  }

  // Scores of eight lanes to weights; the state's maximum and sum.
  template <bool kMasked>
  void soften(int lane, const Seen& visible, float* state_max, float* state_sum) {
    const bool words = a_.shape.value_digits == Digits::k16;
    const __m256 lowest = _mm256_set1_ps(-__builtin_inff()), one = _mm256_set1_ps(1.0f);
    const __m256 top = _mm256_set1_ps(words ? kMostWord : kByteWeightTop);
    __m256 max = lowest;
    for (std::int64_t i = begin_; i < n_; ++i)
      max = _mm256_max_ps(
          _mm256_blendv_ps(lowest, _mm256_load_ps(&scores_[i][lane]), counted<kMasked>(lane, visible, i)), max);
    __m256 sum = _mm256_setzero_ps();
    for (std::int64_t begin = begin_, b = begin_ / kWeightBlock; begin < n_; begin += kWeightBlock, ++b) {
      __m256 largest = _mm256_setzero_ps(), reach = _mm256_setzero_ps();
      for (std::int64_t i = begin; i < begin + kWeightBlock; ++i) {
        const __m256 mask = counted<kMasked>(lane, visible, i);
        const __m256 p = _mm256_and_ps(mask, exp_ps(_mm256_sub_ps(_mm256_load_ps(&scores_[i][lane]), max)));
        sum = _mm256_add_ps(sum, p);
        const __m256 w = _mm256_and_ps(mask, _mm256_mul_ps(p, _mm256_set1_ps(chunk_.value_scale[i])));
        if (words) reach = _mm256_fmadd_ps(p, _mm256_and_ps(mask, _mm256_set1_ps(chunk_.value_reach[i])), reach);
        largest = _mm256_max_ps(w, largest);
        _mm256_store_ps(&scores_[i][lane], w);
      }
      const __m256 positive = _mm256_cmp_ps(largest, _mm256_setzero_ps(), _CMP_GT_OQ);
      const __m256 step =
          _mm256_max_ps(_mm256_div_ps(largest, top), _mm256_div_ps(reach, _mm256_set1_ps(kWeightedSum)));
      const __m256 inverse = _mm256_and_ps(positive, _mm256_div_ps(one, step));
      _mm256_store_ps(&scale_[b][lane], step);
      for (int g = 0; g < kPairs; ++g) {
        __m256i word[2];
        for (int j = 0; j < 2; ++j) {
          __m256 w = _mm256_mul_ps(_mm256_load_ps(&scores_[begin + 2 * g + j][lane]), inverse);
          w = _mm256_min_ps(_mm256_max_ps(w, _mm256_setzero_ps()), top);  // NaN becomes 0
          word[j] = _mm256_cvtps_epi32(w);
        }
        _mm256_store_si256(reinterpret_cast<__m256i*>(&weights_[b * kPairs + g][lane]),
                           _mm256_or_si256(word[0], _mm256_slli_epi32(word[1], 16)));
      }
    }
    const __m256 old = _mm256_load_ps(state_max), both = _mm256_max_ps(max, old);
    const __m256 before = _mm256_blendv_ps(exp_ps(_mm256_sub_ps(old, both)), one, _mm256_cmp_ps(old, both, _CMP_EQ_OQ));
    const __m256 now = _mm256_blendv_ps(exp_ps(_mm256_sub_ps(max, both)), one, _mm256_cmp_ps(max, both, _CMP_EQ_OQ));
    _mm256_store_ps(before_ + lane, before);
    _mm256_store_ps(now_ + lane, now);
    _mm256_store_ps(state_max, both);
    _mm256_store_ps(state_sum,
                    _mm256_add_ps(_mm256_mul_ps(_mm256_load_ps(state_sum), before), _mm256_mul_ps(sum, now)));
  }

  // `width` values of all lanes, 2 lanes x up to 32 values at a time.
  void values(const std::byte* values, std::int64_t v0, std::int64_t width) {
    std::memset(tile_, 0, sizeof tile_);
    values += begin_ / 2 * kTileValues * 4;
    for (std::int64_t b = begin_ / kWeightBlock; b * kWeightBlock < n_; ++b, values += kPairs * kTileValues * 4) {
      for (std::int64_t v = 0; v < width; v += 32) {
        for (std::int64_t lane = 0; lane < n_lanes_; lane += 2) {
          if (width - v >= 32)
            value_tile<4>(values + 4 * v, b, lane, v);
          else
            value_tile<2>(values + 4 * v, b, lane, v);
        }
      }
    }
    for (std::int64_t lane = 0; lane < n_lanes_; ++lane) {
      float* acc = a_.acc + (first_ + lane) * a_.acc_stride + v0;
      const __m256 before = _mm256_set1_ps(before_[lane]), now = _mm256_set1_ps(now_[lane]);
      for (std::int64_t i = 0; i < width; i += 8) {
        const __m256 old = _mm256_mul_ps(_mm256_loadu_ps(acc + i), before);
        _mm256_storeu_ps(acc + i, _mm256_add_ps(old, _mm256_mul_ps(_mm256_load_ps(tile_[lane] + i), now)));
      }
    }
  }

  template <int kVectors>
  [[gnu::noinline]] void value_tile(const std::byte* value, std::int64_t b, std::int64_t lane, std::int64_t v) {
    __m256i acc[2][kVectors];
    for (auto& row : acc) {
      for (__m256i& sum : row) sum = _mm256_setzero_si256();
    }
    const std::int32_t* weight = &weights_[b * kPairs][lane];
    for (int g = 0; g < kPairs; ++g, weight += kStripLanes, value += kTileValues * 4) {
      const __m256i w0 = broadcast(weight), w1 = broadcast(weight + 1);
      for (int i = 0; i < kVectors; ++i) {
        const __m256i column = load(value + 32 * i);
        acc[0][i] = dot(acc[0][i], column, w0);
        acc[1][i] = dot(acc[1][i], column, w1);
      }
    }
    for (int l = 0; l < 2; ++l) {
      const __m256 scale = _mm256_set1_ps(scale_[b][lane + l]);
      float* to = tile_[lane + l] + v;
      for (int i = 0; i < kVectors; ++i) {
        const __m256 sum = _mm256_cvtepi32_ps(acc[l][i]);
        _mm256_store_ps(to + 8 * i, _mm256_fmadd_ps(sum, scale, _mm256_load_ps(to + 8 * i)));
      }
    }
  }

  const FoldArgs& a_;
  const Chunk chunk_;
  const std::int64_t first_, n_lanes_;
  const std::int64_t begin_, n_;  // positions that any of the lanes sees
  alignas(32) float scores_[kChunkPositions][kStripLanes];
  alignas(32) std::int32_t weights_[kChunkPositions / 2][kStripLanes];
  alignas(32) float tile_[kStripLanes][kTileValues];
  alignas(32) float scale_[kBlocks][kStripLanes];
  alignas(32) float before_[kStripLanes], now_[kStripLanes];
};

void fold(const FoldArgs& a) noexcept {
  for (std::int64_t first = 0; first < a.n_lanes; first += kStripLanes) Strip(a, first).run();
}

void project(const ProjectArgs& a) noexcept {
  const Chunk chunk(a.shape, a.chunk);
  const IntegerShape shape = without_rope(a.shape);
  for (std::int64_t lane = 0; lane < a.n_lanes; lane += kStripLanes) {
    alignas(32) float staged[ScoreTile::kPositions][kStripLanes];
    const std::byte* queries = a.queries + static_cast<std::size_t>(lane / kStripLanes) * strip_bytes(shape);
    for (std::int64_t first = 0; first < a.n; first += ScoreTile::kPositions) {
      ScoreTile{shape, queries, chunk, staged[0] - first * kStripLanes, kStripLanes}.keys(first);
      for (std::int64_t p = 0; p < min64(ScoreTile::kPositions, a.n - first); ++p)
        std::memcpy(a.out + (first + p) * a.out_stride + lane, staged[p], sizeof staged[p]);
    }
  }
}

}  // namespace

constinit const IntegerAttention kIntegerAttention{pack_queries, load_cache, load_head, load_rows, project, fold};

}  // namespace dodeca::cpu::avx2
