// The variants of attention.inc, declared; contract in attention.hpp. Arithmetic that all variants share:
//   score   scale * dot(q, row): 16 interleaved lanes over width, lane[k % 16] = fma(q[k], row[k], lane[k % 16]), then
//           combined pairwise (j with j + 8, + 4, + 2, + 1);
//   p       exp(score - max), exp as in cpu/kernels/exp.hpp; their sum over the block in 16 interleaved lanes combined
//           pairwise;
//   sum     fma(sum, exp(old max - max), block sum);
//   acc[v]  acc[v] * exp(old max - max), then fma(p, row[v], acc[v]) in order of position.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"

namespace dodeca::cpu {

inline constexpr int kContextBlock = 64;  // positions per cache block

struct MlaBlockArgs {
  const float* q;                            // [n_heads, width]: absorbed query, width = kv_lora_rank + rope
  std::int64_t n_heads, width, value_width;  // value_width = kv_lora_rank, <= width where the value is part of a row
  const float* rows;                         // [n_positions, width]: decoded cache rows of this block
  std::int64_t n_positions;                  // 1..kContextBlock: only positions that the query may see
  float scale;                               // of the scores
  float* max;                                // [n_heads] running maximum, in and out
  float* sum;                                // [n_heads] running sum of exp(score - max), in and out
  float* acc;      // [n_heads, value_width] running sum of exp(score - max) * value, in and out
  float* scratch;  // [n_heads, kContextBlock]
  // [n_positions, value_width] values of their own; null: the first value_width numbers of `rows`.
  const float* values = nullptr;
  // Memory that the caller will load next and wants near by then: n_ahead pieces.
  const std::byte* const* ahead = nullptr;
  std::int64_t n_ahead = 0;
  std::size_t ahead_bytes = 0;  // of each

  const float* value_rows() const { return values == nullptr ? rows : values; }
  std::int64_t value_stride() const { return values == nullptr ? width : value_width; }
};

// Rows of one cache block.
struct CacheRows {
  quant::DType dtype;     // F32, F16, BF16 or Q8_0
  const std::byte* rows;  // the first one
  std::size_t row_bytes;  // from one row to the next, at least what `width` numbers take
  std::int64_t n, width;  // 0..kContextBlock rows of `width` numbers
};

using MlaBlockFn = void(const MlaBlockArgs& args) noexcept;
using DecodeRowsFn = void(const CacheRows& from, float* out) noexcept;

#define MLA_BLOCK(isa, function) \
  namespace isa {                \
  MlaBlockFn function;           \
  }
#define DECODE_ROWS(isa, function) \
  namespace isa {                  \
  DecodeRowsFn function;           \
  }
#include "cpu/kernels/attention/attention.inc"

}  // namespace dodeca::cpu
