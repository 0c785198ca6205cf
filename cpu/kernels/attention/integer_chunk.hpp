// What the variants of integer attention share beside the arithmetic. Unnamed: every variant has its own compiler flags.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/attention/integer_kernels.hpp"
#include "cpu/kernels/quantize_act/group.hpp"

namespace dodeca::cpu {
namespace {

// The parts of a loaded chunk, with keys and values as a variant holds them.
template <class Key, class Value>
struct ChunkOf {
  ChunkOf(const IntegerShape& s, const std::byte* base) : ChunkOf(ChunkLayout(s), const_cast<std::byte*>(base)) {}
  float *key_scale, *rope_scale, *value_scale;
  float* value_reach;  // a position's largest value, of words
  std::int16_t* rope;
  Key* keys;
  Value* values;

 private:
  ChunkOf(const ChunkLayout& at, std::byte* base)
      : key_scale(reinterpret_cast<float*>(base + at.key_scale)),
        rope_scale(reinterpret_cast<float*>(base + at.rope_scale)),
        value_scale(reinterpret_cast<float*>(base + at.value_scale)),
        value_reach(reinterpret_cast<float*>(base + at.value_reach)),
        rope(reinterpret_cast<std::int16_t*>(base + at.rope)),
        keys(reinterpret_cast<Key*>(base + at.keys)),
        values(reinterpret_cast<Value*>(base + at.values)) {}
};

// Numbers [begin, begin + n) of a cache row, `block` of them at a time.
struct RowPart {
  quant::DType dtype;
  const std::byte* row;
  std::int64_t begin, n, block;
};

// Numbers of a row that are decoded together, at most: the latent parts that are known have up to 512.
constexpr std::int64_t kDecodedOnce = 512;
static_assert(kKeyBlock <= kDecodedOnce && kRopeBlock <= kDecodedOnce && kDecodedOnce % 16 == 0);

// Rows of a chunk that are made and then interleaved: few enough for L1 (32 KB of words at 1024 numbers), a divisor of
// kWeightBlock.
constexpr std::int64_t kRowsAtOnce = 16;
static_assert(kWeightBlock % kRowsAtOnce == 0);

constexpr std::int64_t min64(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

inline std::int64_t most_visible(const std::int32_t* visible, std::int64_t n_lanes) {
  std::int32_t most = 0;
  for (std::int64_t l = 0; l < n_lanes; ++l) most = visible[l] > most ? visible[l] : most;
  return most;
}

// The first position that any lane sees, down to a whole weight block.
inline std::int64_t first_block_seen(const std::int32_t* hidden, std::int64_t n_lanes) {
  if (hidden == nullptr || n_lanes <= 0) return 0;
  std::int32_t least = hidden[0];
  for (std::int64_t l = 1; l < n_lanes; ++l) least = hidden[l] < least ? hidden[l] : least;
  return least / kWeightBlock * kWeightBlock;
}

// Row i of a chunk that lies in blocks of the cache.
inline const std::byte* cached_row(const std::byte* const* blocks, std::size_t row_bytes, std::int64_t i) {
  return blocks[i / kWeightBlock] + static_cast<std::size_t>(i % kWeightBlock) * row_bytes;
}

}  // namespace
}  // namespace dodeca::cpu
