// Arguments and variants of the indexer's scores; the arithmetic is stated in index.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dodeca::cpu {

inline constexpr std::int64_t kIndexLanes = 16;  // heads of a strip of queries

// How an indexer's keys and queries are numbers: words with a scale, or floats (the float32 route).
enum class IndexNumbers : std::uint8_t { kWords, kFloats };

struct IndexShape {
  IndexNumbers numbers = IndexNumbers::kWords;
  std::int64_t n_heads = 0, head_dim = 0;  // an even dimension

  constexpr std::int64_t strips() const { return (n_heads + kIndexLanes - 1) / kIndexLanes; }
  bool operator==(const IndexShape&) const = default;
};

// A key as it is cached: {float scale, int16 numbers} | floats.
constexpr std::size_t index_row_bytes(const IndexShape& s) {
  return static_cast<std::size_t>(s.numbers == IndexNumbers::kWords ? 4 + 2 * s.head_dim : 4 * s.head_dim);
}

// A strip of queries: [kIndexLanes] factors, then [dims or pairs of dims][kIndexLanes] floats or pairs of words.
constexpr std::size_t index_strip_bytes(const IndexShape& s) {
  const std::int64_t rows = s.numbers == IndexNumbers::kWords ? s.head_dim / 2 : s.head_dim;
  return static_cast<std::size_t>(4 * kIndexLanes * (1 + rows));
}

struct IndexScoreArgs {
  IndexShape shape;
  const std::byte* queries;  // strips() strips, 64-byte aligned
  const std::byte* keys;     // n rows of index_row_bytes(), one behind the other
  std::int64_t n;
  float* scores;  // [n]
  // Keys that the caller scores next, as many, or null: they are fetched meanwhile.
  const std::byte* ahead = nullptr;
};

using IndexScoreFn = void(const IndexScoreArgs& args);

#define KERNEL(isa, name) \
  namespace isa {         \
  IndexScoreFn name;      \
  }
#include "cpu/kernels/index/index_scores.inc"
#undef KERNEL

}  // namespace dodeca::cpu
