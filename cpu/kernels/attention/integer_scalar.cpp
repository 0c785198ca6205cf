// The definition, in plain loops: keys and values stay rows of words.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/kernels/attention/integer_chunk.hpp"
#include "cpu/kernels/attention/words.hpp"
#include "cpu/kernels/exp_scalar.hpp"
#include "quant/codec.hpp"

namespace dodeca::cpu::scalar {
namespace {

using Chunk = ChunkOf<std::int16_t, std::int16_t>;

// Queries of a lane: scales at [block * kStripLanes + lane], numbers of a lane side by side.
struct Query {
  Query(const IntegerShape& s, const std::byte* strips, std::int64_t lane)
      : scale(reinterpret_cast<const float*>(strips + static_cast<std::size_t>(lane / kStripLanes) * strip_bytes(s)) +
              lane % kStripLanes),
        q(reinterpret_cast<const std::int16_t*>(scale - lane % kStripLanes +
                                                kStripLanes * (s.key_blocks() + s.rope_blocks())) +
          lane % kStripLanes * (s.key + s.rope)) {}
  const float* scale;
  const std::int16_t* q;
};

std::int32_t exact_dot(const std::int16_t* a, const std::int16_t* b, std::int64_t n) {
  std::int32_t sum = 0;
  for (std::int64_t k = 0; k < n; ++k) sum += a[k] * b[k];
  return sum;
}

float key_score(const IntegerShape& s, const Query& query, const Chunk& chunk, std::int64_t i) {
  float score = 0.0f;
  for (std::int64_t b = 0, k = 0; k < s.key; ++b, k += kKeyBlock) {
    const std::int32_t exact = exact_dot(query.q + k, chunk.keys + i * s.key + k, min64(kKeyBlock, s.key - k));
    score = std::fma(static_cast<float>(exact), query.scale[b * kStripLanes], score);
  }
  return score * chunk.key_scale[i];
}

float whole_score(const IntegerShape& s, const Query& query, const Chunk& chunk, std::int64_t i) {
  float score = key_score(s, query, chunk, i);
  for (std::int64_t b = s.key_blocks(), k = 0; k < s.rope; ++b, k += kRopeBlock) {
    const std::int32_t exact =
        exact_dot(query.q + s.key + k, chunk.rope + i * s.rope + k, min64(kRopeBlock, s.rope - k));
    score = std::fma(static_cast<float>(exact) * chunk.rope_scale[i], query.scale[b * kStripLanes], score);
  }
  return score;
}

float quantize_keys(Digits digits, const float* x, std::int64_t n, std::int16_t* q) {
  return digits == Digits::k8 ? quantize_group(x, n, kByteTop, q) : quantize_words(x, n, kKeyBlock, q);
}

void pack_queries(const PackQueriesArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  for (std::int64_t lane = 0; lane < (a.n + kStripLanes - 1) / kStripLanes * kStripLanes; ++lane) {
    const Query to(s, a.out, lane);
    auto* scale = const_cast<float*>(to.scale);
    auto* q = const_cast<std::int16_t*>(to.q);
    if (lane >= a.n) {
      for (std::int64_t b = 0; b < s.key_blocks() + s.rope_blocks(); ++b) scale[b * kStripLanes] = 0.0f;
      std::fill_n(q, s.key + s.rope, std::int16_t{0});
      continue;
    }
    const float* from = a.q + lane * a.q_stride;
    for (std::int64_t k = 0; k < s.key; k += kKeyBlock, scale += kStripLanes)
      *scale = a.scale * quantize_keys(s.digits, from + k, min64(kKeyBlock, s.key - k), q + k);
    for (std::int64_t k = 0; k < s.rope; k += kRopeBlock, scale += kStripLanes) {
      const std::int64_t n = min64(kRopeBlock, s.rope - k);
      *scale = a.scale * quantize_words(from + s.key + k, n, kRopeBlock, q + s.key + k);
    }
  }
}

// Numbers of a cache row, decoded block by block: the largest and the norms first. Returns their largest as a float.
float quantize_cached(quant::DType dtype, const std::byte* src, std::int64_t n, std::int64_t block, std::int16_t* q,
                      float* scale) {
  const quant::TypeInfo& type = quant::type_info(dtype);
  float floats[kKeyBlock];
  const auto decode = [&](std::int64_t k) {
    const std::int64_t count = min64(block, n - k);
    quant::decode_row(dtype, src + static_cast<std::size_t>(k / type.block_elements) * type.block_bytes, floats, count);
    return count;
  };
  std::int32_t amax_bits = 0;
  float squares = 0.0f;
  for (std::int64_t k = 0; k < n; k += block) {
    const std::int64_t count = decode(k);
    amax_bits = amax_bits_of(floats, count, amax_bits);
    const float own = squares_of(floats, count);
    squares = own > squares ? own : squares;
  }
  const GroupScale group = word_scale(amax_bits, squares);
  for (std::int64_t k = 0; k < n; k += block) {
    const std::int64_t count = decode(k);
    round_group(floats, count, group.factor, q + k);
  }
  *scale = group.scale;
  return std::bit_cast<float>(amax_bits);
}

void load_cache(const LoadCacheArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  const Chunk to(s, a.chunk);
  for (std::int64_t i = 0; i < a.n; ++i) {
    const std::byte* row = cached_row(a.blocks, a.row_bytes, i);
    if (s.digits == Digits::k8) {
      std::memcpy(to.key_scale + i, row, sizeof(float));
      std::memcpy(to.rope_scale + i, row + sizeof(float), sizeof(float));
      const auto* q = reinterpret_cast<const std::int8_t*>(row + 2 * sizeof(float));
      std::copy_n(q, s.key, to.keys + i * s.key);
      std::memcpy(to.rope + i * s.rope, q + s.key, static_cast<std::size_t>(s.rope) * sizeof(std::int16_t));
    } else {
      const std::byte* rope = row + *quant::row_bytes(a.dtype, s.key);
      to.value_reach[i] = quantize_cached(a.dtype, row, s.key, kKeyBlock, to.keys + i * s.key, to.key_scale + i);
      quantize_cached(a.dtype, rope, s.rope, kRopeBlock, to.rope + i * s.rope, to.rope_scale + i);
    }
    to.value_scale[i] = to.key_scale[i];
    std::copy_n(to.keys + i * s.key, s.value, to.values + i * s.value);
  }
}

void load_head(const LoadHeadArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  const Chunk to(s, a.chunk), from(a.rope_shape, a.rope_from);
  for (std::int64_t i = 0; i < a.n; ++i) {
    to.key_scale[i] = quantize_keys(s.digits, a.keys + i * a.stride, s.key, to.keys + i * s.key);
    const float top = s.value_digits == Digits::k8 ? kByteTop : kValueTop;
    to.value_scale[i] = quantize_group(a.values + i * a.stride, s.value, top, to.values + i * s.value);
    to.value_reach[i] = to.value_scale[i] * top;
    to.rope_scale[i] = from.rope_scale[i];
    std::copy_n(from.rope + i * s.rope, s.rope, to.rope + i * s.rope);
  }
}

// Numbers of a cached head, in bytes as they are.
float copy_bytes(const std::byte* row, std::int64_t n, std::int16_t* q) {
  float scale[2];
  std::memcpy(scale, row, sizeof scale);
  std::copy_n(reinterpret_cast<const std::int8_t*>(row + sizeof scale), n, q);
  return scale[0];
}

void load_rows(const LoadRowsArgs& a) noexcept {
  const IntegerShape& s = a.shape;
  const Chunk to(s, a.chunk);
  for (std::int64_t i = 0; i < a.n; ++i) {
    const std::byte *key = cached_row(a.keys, a.key_bytes, i), *value = cached_row(a.values, a.value_bytes, i);
    if (s.digits == Digits::k8)
      to.key_scale[i] = copy_bytes(key, s.key, to.keys + i * s.key);
    else
      quantize_cached(a.key_dtype, key, s.key, kKeyBlock, to.keys + i * s.key, to.key_scale + i);
    std::int16_t* q = to.values + i * s.value;
    if (s.value_digits == Digits::k8) {
      to.value_scale[i] = copy_bytes(value, s.value, q);
      continue;
    }
    const quant::TypeInfo& type = quant::type_info(a.value_dtype);
    const auto each_block = [&](auto&& f) {
      for (std::int64_t v = 0; v < s.value; v += kKeyBlock) {
        float floats[kKeyBlock];
        const std::int64_t count = min64(kKeyBlock, s.value - v);
        quant::decode_row(a.value_dtype, value + static_cast<std::size_t>(v / type.block_elements) * type.block_bytes,
                          floats, count);
        f(v, floats, count);
      }
    };
    std::int32_t amax_bits = 0;
    each_block([&](std::int64_t, const float* x, std::int64_t n) { amax_bits = amax_bits_of(x, n, amax_bits); });
    const GroupScale group = group_scale(amax_bits, kValueTop);
    each_block([&](std::int64_t v, const float* x, std::int64_t n) { round_group(x, n, group.factor, q + v); });
    to.value_scale[i] = group.scale;
    to.value_reach[i] = std::bit_cast<float>(amax_bits);
  }
}

void project(const ProjectArgs& a) noexcept {
  const IntegerShape s = without_rope(a.shape);
  const Chunk chunk(a.shape, a.chunk);
  for (std::int64_t i = 0; i < a.n; ++i) {
    for (std::int64_t lane = 0; lane < a.n_lanes; ++lane) {
      a.out[i * a.out_stride + lane] = key_score(s, Query(s, a.queries, lane), chunk, i);
    }
  }
}

void fold_lane(const FoldArgs& a, std::int64_t lane) {
  const IntegerShape& s = a.shape;
  const Chunk chunk(s, a.chunk);
  const Query query(s, a.queries, lane);
  const std::int32_t n = a.visible[lane], hidden = a.hidden == nullptr ? 0 : a.hidden[lane];
  const auto counts = [&](std::int32_t i) {
    return a.masks == nullptr || (a.masks[lane / kStripLanes * a.mask_stride + i] >> lane % kStripLanes & 1) != 0;
  };
  float p[kChunkPositions];
  float max = -std::numeric_limits<float>::infinity();
  for (std::int32_t i = hidden; i < n; ++i) {
    if (!counts(i)) continue;
    p[i] = whole_score(s, query, chunk, i);
    max = p[i] > max ? p[i] : max;
  }
  float sum = 0.0f;
  for (std::int32_t i = hidden; i < n; ++i) sum += p[i] = counts(i) ? exp_one(p[i] - max) : 0.0f;
  std::fill_n(p, hidden, 0.0f);

  const bool words = s.value_digits == Digits::k16;
  const float old = a.max[lane], top = words ? kMostWord : kByteWeightTop;
  const float both = max > old ? max : old;
  const float before = old == both ? 1.0f : exp_one(old - both), now = max == both ? 1.0f : exp_one(max - both);
  a.max[lane] = both;
  a.sum[lane] = a.sum[lane] * before + sum * now;
  std::int32_t weight[kChunkPositions];
  float scale[kChunkPositions / kWeightBlock];
  for (std::int32_t begin = 0; begin < n; begin += kWeightBlock) {
    const std::int32_t end = std::min<std::int32_t>(n, begin + kWeightBlock);
    float largest = 0.0f, reach = 0.0f;
    for (std::int32_t i = std::max(begin, hidden); i < end; ++i) {
      if (!counts(i)) continue;
      if (words) reach = std::fma(p[i], chunk.value_reach[i], reach);
      p[i] *= chunk.value_scale[i];
      largest = p[i] > largest ? p[i] : largest;
    }
    const float by_largest = largest / top, by_reach = reach / kWeightedSum;
    const float step = by_largest > by_reach ? by_largest : by_reach;
    const float inverse = largest > 0.0f ? 1.0f / step : 0.0f;
    scale[begin / kWeightBlock] = step;
    for (std::int32_t i = begin; i < end; ++i) {
      const float w = p[i] * inverse;
      weight[i] = w > 0.0f ? static_cast<std::int32_t>(std::nearbyint(w < top ? w : top)) : 0;
    }
  }
  float* acc = a.acc + lane * a.acc_stride;
  for (std::int64_t v = 0; v < s.value; ++v) {
    float t = 0.0f;
    for (std::int32_t begin = 0; begin < n; begin += kWeightBlock) {
      std::int32_t exact = 0;
      for (std::int32_t i = begin; i < std::min<std::int32_t>(n, begin + kWeightBlock); ++i)
        exact += weight[i] * chunk.values[i * s.value + v];
      t = std::fma(static_cast<float>(exact), scale[begin / kWeightBlock], t);
    }
    acc[v] = acc[v] * before + t * now;
  }
}

void fold(const FoldArgs& a) noexcept {
  for (std::int64_t lane = 0; lane < a.n_lanes; ++lane) fold_lane(a, lane);
}

}  // namespace

constinit const IntegerAttention kIntegerAttention{pack_queries, load_cache, load_head, load_rows, project, fold};

}  // namespace dodeca::cpu::scalar
