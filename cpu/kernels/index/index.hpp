// The indexer of sparse attention (DeepSeek-V3.2-Exp report, section 2.1): every cached position gets a score from a
// few small heads, and attention then runs over the positions with the highest ones.
//
// A position's key and a head's query are head_dim numbers each:
//   words   with one scale, by words.hpp with the whole row as one block: a dot product is an exact sum below 2^31;
//   floats  as they are, for the float32 route.
// factor = (weight of the head * query scale), once per head; the caller puts 1 / sqrt(heads * head_dim) into the
// weight.
//
//   d = the exact sum of products, as a float  |  fma over the dimensions, ascending
//   lane[h % 16] = fma(d > 0 ? d : 0, factor of head h, lane[h % 16]), over h ascending, from 0
//   score = the lanes combined pairwise (j with j + 8, + 4, + 2, + 1) * key scale (floats: 1)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/isa.hpp"
#include "cpu/kernels/index/choose_kernels.hpp"
#include "cpu/kernels/index/index_kernels.hpp"
#include "cpu/kernels/kernel_list.hpp"

namespace dodeca::cpu {

inline constexpr std::int64_t kMostIndexDim = 128;  // for which words.hpp bounds the sums whatever the values are

// A key as it is cached; `out` at a multiple of 4.
void encode_index_row(const IndexShape& shape, const float* key, std::byte* out) noexcept;

// One head's query into its lane. The last head also clears the lanes behind it.
void pack_index_query(const IndexShape& shape, std::int64_t head, const float* query, float weight,
                      std::byte* strips) noexcept;

void index_scores(const IndexScoreArgs& args, Isa isa) noexcept;
std::span<const KernelVariant<IndexScoreFn>> index_scores_kernels();

// The indices of the k highest of n scores, ascending; of equal ones the lower index, and -0 is below 0. 0 < k <= n;
// NaN with its sign bit clear is above infinity. Both arrays of n have room for kChooseSlack more, which may be read or
// written.
struct ChooseArgs {
  const float* scores;
  std::int64_t n, k;
  std::int32_t* scratch;  // [n]
  std::int32_t* chosen;   // [k]
};
void choose_highest(const ChooseArgs& args, Isa isa) noexcept;

}  // namespace dodeca::cpu
