#include "quant/codec.hpp"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstring>
#include <type_traits>

#include "quant/check.hpp"
#include "quant/encode/encode_row.hpp"
#include "quant/formats/formats.hpp"

namespace dodeca::quant {
namespace {

template <class F>
constexpr bool kHasBlocks = requires {
  typename F::Block;
};
template <class F>
constexpr std::size_t kRowPrefix = 0;
template <class F>
requires requires { F::kRowPrefix; }
constexpr std::size_t kRowPrefix<F> = F::kRowPrefix;

// The list and the structs agree.
#define TYPE(name, lower, id, elements, bytes, prefix, ...)                                               \
  static_assert(!kHasBlocks<Format<DType::k##name>> || sizeof(Format<DType::k##name>::Block) == (bytes)); \
  static_assert(kRowPrefix<Format<DType::k##name>> == (prefix));
#define FLOATS(name, ...)
#define OPAQUE(name, ...)
#include "quant/types.inc"

// Before the blocks: an f16 or an f32.
template <class F>
float row_scale_of(const std::byte* row) {
  std::conditional_t<kRowPrefix<F> == 2, std::uint16_t, float> scale;
  static_assert(kRowPrefix<F> == sizeof scale);
  std::memcpy(&scale, row, sizeof scale);
  if constexpr (kRowPrefix<F> == 2) {
    return f16_to_f32(scale);
  } else {
    return scale;
  }
}

// Columns [begin, end) of a row. Blocks in a file lie at any address: each is copied out before it is read.
template <DType T, std::int64_t kElements, std::int64_t kBytes>
void decode(const std::byte* row, std::int64_t begin, std::int64_t end, float* dst) {
  using F = Format<T>;
  const std::byte* src = row + kRowPrefix<F> + begin / kElements * kBytes;
  if constexpr (!kHasBlocks<F>) {
    F::decode(src, dst, end - begin);
  } else {
    typename F::Block block;
    for (std::int64_t i = begin; i < end; i += kElements, src += kBytes, dst += kElements) {
      std::memcpy(&block, src, sizeof block);
      if constexpr (kRowPrefix<F> != 0) {
        F::decode(block, row_scale_of<F>(row), dst);
      } else {
        F::decode(block, dst);
      }
    }
  }
}

bool finite_f16(const std::byte* src) {
  std::uint16_t bits;
  std::memcpy(&bits, src, sizeof bits);
  return (bits & 0x7c00u) != 0x7c00u;
}

template <class Block>
concept HasF16Scale = requires(Block b) {
  { b.d } -> std::same_as<std::uint16_t&>;
};

// Integers under finite f16 scales are finite, and so are those under a row scale that is far from infinity: only another
// scale needs a closer look.
template <class F>
bool surely_finite(const std::byte* row, const std::byte* block) {
  if constexpr (kRowPrefix<F> != 0) {
    return std::fabs(row_scale_of<F>(row)) < 0x1p100f;
  } else if constexpr (!kHasBlocks<F>) {
    return false;
  } else if constexpr (HasF16Scale<typename F::Block>) {
    using Block = typename F::Block;
    bool finite = finite_f16(block + offsetof(Block, d));
    if constexpr (requires(Block b) { b.dmin; }) finite = finite && finite_f16(block + offsetof(Block, dmin));
    if constexpr (requires(Block b) { b.m; }) finite = finite && finite_f16(block + offsetof(Block, m));
    return finite;
  } else {
    return false;
  }
}

template <DType T, std::int64_t kElements, std::int64_t kBytes>
std::int64_t find_bad(const std::byte* row, std::int64_t n) {
  using F = Format<T>;
  constexpr std::int64_t kStep = kElements == 1 ? kSuperBlock : kElements;  // plain types in steps of 256
  float values[kSuperBlock];
  for (std::int64_t i = 0; i < n; i += kStep) {
    if (surely_finite<F>(row, row + kRowPrefix<F> + i / kElements * kBytes)) continue;
    const std::int64_t end = std::min(i + kStep, n);
    decode<T, kElements, kBytes>(row, i, end, values);
    for (std::int64_t k = i; k < end; ++k) {
      if (!std::isfinite(values[k - i])) return k;
    }
  }
  return -1;
}

// Largest magnitude that block encoders are given: small enough that no sum of theirs overflows.
constexpr float kLargest = 3e38f;

template <class Block, int kElements>
void encode_blocks(const float* src, std::byte* dst, std::int64_t n, void (*encode)(const float* x, Block& block)) {
  Block block;
  float x[kElements];
  for (std::int64_t i = 0; i < n; i += kElements, dst += sizeof block) {
    for (int k = 0; k < kElements; ++k) x[k] = std::clamp(src[i + k], -kLargest, kLargest);
    encode(x, block);
    std::memcpy(dst, &block, sizeof block);
  }
}

// The types that need no search.
template <DType T, int kElements>
void encode_plainly(const float* src, std::byte* dst, std::int64_t n) {
  using F = Format<T>;
  if constexpr (requires { F::encode(src, dst, n); }) {
    F::encode(src, dst, n);
  } else if constexpr (requires(typename F::Block block) { F::encode(src, block); }) {
    encode_blocks<typename F::Block, kElements>(src, dst, n, F::encode);
  }
}

}  // namespace

void decode_row(DType dtype, const std::byte* src, float* dst, std::int64_t n) {
  decode_columns(dtype, src, 0, n, dst);
}

void decode_columns(DType dtype, const std::byte* row, std::int64_t begin, std::int64_t end, float* dst) {
  DODECA_CHECK(type_info(dtype).decodable && begin % type_info(dtype).block_elements == 0 &&
                   end % type_info(dtype).block_elements == 0,
               dtype, begin, end);
  switch (dtype) {
#define TYPE(name, lower, id, elements, bytes, ...) \
  case DType::k##name:                              \
    return decode<DType::k##name, elements, bytes>(row, begin, end, dst);
#define OPAQUE(...)
#include "quant/types.inc"
    default:
      return;  // not decodable: excluded by contract
  }
}

void decode_rows(DType dtype, const std::byte* rows, std::int64_t n_rows, std::int64_t n, float* dst) {
  const std::size_t bytes = *row_bytes(dtype, n);
  for (std::int64_t i = 0; i < n_rows; ++i, rows += bytes, dst += n) decode_row(dtype, rows, dst, n);
}

void encode_row(DType dtype, const float* src, std::byte* dst, std::int64_t n, const float* importance) {
  DODECA_CHECK(type_info(dtype).encodable && n % type_info(dtype).block_elements == 0, dtype, n);
  if (encode_row_searching<Lane>(dtype, src, dst, n, importance)) return;
  switch (dtype) {
#define TYPE(name, lower, id, elements, ...) \
  case DType::k##name:                       \
    return encode_plainly<DType::k##name, elements>(src, dst, n);
#define BLOCKS(...)
#define OPAQUE(...)
#include "quant/types.inc"
    default:
      return;  // not encodable: excluded by contract
  }
}

void encode_row_once(DType dtype, const float* src, std::byte* dst, std::int64_t n) {
  using F = Format<DType::kQ8_0>;
  if (dtype != DType::kQ8_0) return encode_row(dtype, src, dst, n);
  encode_blocks<F::Block, kSmallBlock>(src, dst, n, F::encode_once);
}

std::int64_t find_non_finite(DType dtype, const std::byte* src, std::int64_t n) {
  DODECA_CHECK(type_info(dtype).decodable && n % type_info(dtype).block_elements == 0, dtype, n);
  switch (dtype) {
#define TYPE(name, lower, id, elements, bytes, ...) \
  case DType::k##name:                              \
    return find_bad<DType::k##name, elements, bytes>(src, n);
#define OPAQUE(...)
#include "quant/types.inc"
    default:
      return -1;  // not decodable: excluded by contract
  }
}

}  // namespace dodeca::quant
