// Arguments and variants of integer attention; the arithmetic is stated in integer.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"

namespace dodeca::cpu {

inline constexpr int kChunkPositions = 256;
inline constexpr int kWeightBlock = 64;  // positions that share a scale of the weights; also a block of the cache
inline constexpr int kKeyBlock = 64, kRopeBlock = 64;
inline constexpr int kStripLanes = 16;  // lanes of a strip of packed queries

enum class Digits : std::uint8_t { k8, k16 };

struct IntegerShape {
  Digits digits;                  // of keys and queries
  std::int64_t key, rope, value;  // multiples of 32, 2 (or 0), 16; value <= key where the value is the key itself
  Digits value_digits = digits;   // of values and weights; others than those of keys where both come from a cache

  constexpr std::int64_t key_blocks() const { return (key + kKeyBlock - 1) / kKeyBlock; }
  constexpr std::int64_t rope_blocks() const { return (rope + kRopeBlock - 1) / kRopeBlock; }
};

inline constexpr float kByteTop = 127.0f, kByteWeightTop = 255.0f;
inline constexpr float kValueTop =
    11585.0f;  // of a head's values in words: 64 equal weights get as many digits as they
inline constexpr float kWeightedSum = 2143289344.0f;  // 2^31 - 2^22: rounding 64 weights adds at most 2^20

// Bytes of one strip of packed queries: [key blocks + rope blocks][kStripLanes] scales, then the numbers. Enough for
// every variant: bytes leave room for what a variant keeps besides.
constexpr std::size_t strip_bytes(const IntegerShape& s) {
  return static_cast<std::size_t>(kStripLanes * (4 * (s.key_blocks() + s.rope_blocks()) + 2 * (s.key + s.rope)));
}

// Where the parts of a loaded chunk begin, in bytes; sizes suffice for every variant: the keys' also for the values of a
// head, which wait there until they are interleaved, and for kSlackPositions rows behind the last, which a variant may
// read, never use, to fill its last tile.
struct ChunkLayout {
  std::size_t key_scale, rope_scale, value_scale, value_reach, rope, keys, values, total;

  constexpr explicit ChunkLayout(const IntegerShape& s)
      : key_scale(0),
        rope_scale(key_scale + 4 * kChunkPositions),
        value_scale(rope_scale + 4 * kChunkPositions),
        value_reach(value_scale + 4 * kChunkPositions),
        rope(value_reach + 4 * kChunkPositions),
        keys(rope + 2 * kRows * static_cast<std::size_t>(s.rope)),
        values(keys + 2 * kRows * static_cast<std::size_t>(s.key > s.value ? s.key : s.value)),
        total(values + 2 * kChunkPositions * static_cast<std::size_t>((s.value + 63) / 64 * 64)) {}

 private:
  static constexpr std::size_t kSlackPositions = 16;  // keeps the parts at multiples of 64
  static constexpr std::size_t kRows = kChunkPositions + kSlackPositions;
};

struct PackQueriesArgs {
  IntegerShape shape;
  const float* q;  // n rows of [key | rope], q_stride floats apart
  std::int64_t q_stride, n;
  float scale;     // of the scores
  std::byte* out;  // ceil(n / kStripLanes) strips of strip_bytes(), 64-byte aligned
};

// A chunk of latent cache rows; the value is the key part's first `value` dims.
struct LoadCacheArgs {
  IntegerShape shape;
  quant::DType dtype;              // I8: rows of encode_int8_row, with Digits::k8; F16, BF16, Q8_0: with Digits::k16
  const std::byte* const* blocks;  // one pointer per kWeightBlock positions
  std::size_t row_bytes;
  std::int64_t n;    // positions, 1..kChunkPositions
  std::byte* chunk;  // ChunkLayout, 64-byte aligned
};

// A chunk of one head's keys and values; the rope part is copied from another chunk with as many positions.
struct LoadHeadArgs {
  IntegerShape shape;
  const float *keys, *values;  // n rows, `stride` floats apart; `keys` may be written
  std::int64_t stride, n;
  const std::byte* rope_from;
  IntegerShape rope_shape;
  std::byte* chunk;
};

// A chunk of one key-value head's rows in a cache, without rope part: keys in one type, values in another.
struct LoadRowsArgs {
  IntegerShape shape;                            // rope 0
  quant::DType key_dtype, value_dtype;           // I8: encode_int8_row without rope part, k8; F16, BF16, Q8_0: k16
  const std::byte *const *keys, *const *values;  // one pointer per kWeightBlock positions
  std::size_t key_bytes, value_bytes;            // from one row to the next
  std::int64_t n;                                // positions, 1..kChunkPositions
  std::byte* chunk;                              // ChunkLayout, 64-byte aligned
};

// out[position][lane] = s * key scale: the scores without rope part and softmax, as a matrix product with the keys.
struct ProjectArgs {
  IntegerShape shape;        // of the chunk
  const std::byte* queries;  // packed with the same shape but no rope part
  std::int64_t n_lanes;      // a multiple of kStripLanes
  const std::byte* chunk;
  std::int64_t n;
  float* out;  // n rows
  std::int64_t out_stride;
};

constexpr IntegerShape without_rope(IntegerShape s) {
  s.rope = 0;
  return s;
}

struct FoldArgs {
  IntegerShape shape;
  const std::byte* queries;
  std::int64_t n_lanes;
  const std::byte* chunk;
  std::int64_t n;
  const std::int32_t* visible;  // [n_lanes] up to which of the n positions a lane sees, 0..n
  float *max, *sum;             // [n_lanes] in and out; begin with -inf, 0
  float* acc;                   // [n_lanes] rows of `value`, acc_stride floats apart, in and out; begin with 0
  std::int64_t acc_stride;
  // [n_lanes] how many of the first positions a lane does not see, 0..visible: a window. Null: none.
  const std::int32_t* hidden = nullptr;
  // Of the positions that a lane sees, those that count: bit l of [strip][position] is lane l of the strip, strips are
  // mask_stride apart. Null: all. The others are as if they were not there.
  const std::uint16_t* masks = nullptr;
  std::int64_t mask_stride = 0;
  // Memory that the caller will load next and wants near by then: n_ahead pieces.
  const std::byte* const* ahead = nullptr;
  std::int64_t n_ahead = 0;
  std::size_t ahead_bytes = 0;  // of each
};

struct IntegerAttention {
  void (*pack_queries)(const PackQueriesArgs&) noexcept;
  void (*load_cache)(const LoadCacheArgs&) noexcept;
  void (*load_head)(const LoadHeadArgs&) noexcept;
  void (*load_rows)(const LoadRowsArgs&) noexcept;
  void (*project)(const ProjectArgs&) noexcept;
  void (*fold)(const FoldArgs&) noexcept;
};

#define INTEGER_ATTENTION(isa, name)  \
  namespace isa {                     \
  extern const IntegerAttention name; \
  }
#include "cpu/kernels/attention/integer.inc"

}  // namespace dodeca::cpu
