// MLA attention in absorbed form over latent cache rows: the heads are the M dimension, one cache row [latent | rope] serves
// them all, and the value is the row's latent part (DeepSeek-V2 paper, section 2.1.2; absorbed form: its appendix C).
//
// Work unit: (query row, context block). A block holds kContextBlock positions; partial results are merged in block order, so
// the bits do not depend on who computed what.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.hpp"
#include "quant/dtype.hpp"

namespace dodeca::cpu {

inline constexpr int kContextBlock = 64;  // positions per cache block

// Reads n_positions rows of one cache block in `dtype` (F32, F16, BF16, Q8_0), each row_bytes apart, into floats [n, width].
void decode_cache_rows(quant::DType dtype, const std::byte* rows, std::size_t row_bytes, std::int64_t n, std::int64_t width,
                       float* out, Isa isa) noexcept;
// The way in: one row of `width` floats. Q8_0 by the format's scalar rule.
void encode_cache_row(quant::DType dtype, const float* row, std::int64_t width, std::byte* out, Isa isa) noexcept;

struct MlaBlockArgs {
  const float* q;           // [n_heads, width]: absorbed query, width = kv_lora_rank + rope
  std::int64_t n_heads, width, value_width;  // value_width = kv_lora_rank
  const float* rows;        // [n_positions, width]: decoded cache rows of this block
  std::int64_t n_positions; // 1..kContextBlock: only positions that the query may see
  float scale;              // of the scores
  float* max;               // [n_heads] running maximum, in and out
  float* sum;               // [n_heads] running sum of exp(score - max), in and out
  float* acc;               // [n_heads, value_width] running sum of exp(score - max) * value, in and out
  float* scratch;           // [n_heads, kContextBlock]
};
// Folds one block into the running (max, sum, acc): online softmax. Start with max = -inf, sum = 0, acc = 0.
void mla_block(const MlaBlockArgs& args, Isa isa) noexcept;

}  // namespace dodeca::cpu
