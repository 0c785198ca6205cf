// mla_prompt: latent attention of many rows of a sequence in decompressed form, heads having keys and values of their own
// (DeepSeek-V2 paper, section 2.1.2): keys [k_b latent | rope] and values v_b latent of every position were made before
// (halves.hpp). Online softmax over tiles of positions (FlashAttention-2, algorithm 1), on tensor cores:
//   score[p] = dot(query, key[p]),  result = sum over p <= position of softmax(score)[p] * value[p]
// Queries have the scale and log2 e in them. Softmax weights are rounded to the 16-bit type (F16: 2^15 times as large, so
// that small ones keep their digits); sums are those of the rounded weights.
//
// A block takes a head and 64 rows. A row's bits depend on its own position alone. Results are written over the queries.
//
// One launch, per row that sees n positions, h heads, d numbers of a key, v of a value:
//   operations  2 n h (d + v)
//   bytes       keys and values once for every 64 rows, from the L2 but for the first
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"
#include "gpu/kernels/halves.hpp"
#include "gpu/kernels/kernel_id.hpp"

namespace dodeca::gpu {

struct MlaPromptArgs {
  std::uint16_t* queries;         // [n_rows, n_heads, nope + rope], rows query_stride values apart; results [.., value]
  const std::uint16_t* keys;      // [positions, n_heads, nope + value]: of each head keys, then values
  const std::uint16_t* ropes;     // [positions, rope] of all heads, rows rope_stride values apart; all 16 bytes aligned
  const std::int32_t* positions;  // [n_rows]; below 0: a row that is not there
  std::int64_t query_stride, key_stride, rope_stride;  // multiples of 8
  HalfType type;
  std::int32_t n_rows, n_heads;
  std::int32_t nope, rope, value;  // multiples of 16; nope + rope at most kMostMlaHead, value at most nope + rope
};

inline constexpr std::int32_t kMostMlaHead = 256;
inline constexpr std::int32_t kMlaPromptRows = 64, kMlaPromptTile = 32;
inline constexpr std::uint32_t kMlaPromptThreads = 128;

constexpr bool can_attend_prompt(std::int32_t nope, std::int32_t rope, std::int32_t value) {
  return nope % 16 == 0 && rope % 16 == 0 && value % 16 == 0 && nope + rope <= kMostMlaHead && value <= nope + rope;
}
// mla_prompt_<type>_192_128 for keys of up to 192 and values of up to 128, mla_prompt_<type> for wider ones.
inline KernelId mla_prompt_kernel(const MlaPromptArgs& args) {
  const bool narrow = args.nope + args.rope <= 192 && args.value <= 128;
  if (args.type == HalfType::kF16) return narrow ? KernelId::mla_prompt_f16_192_128 : KernelId::mla_prompt_f16;
  return narrow ? KernelId::mla_prompt_bf16_192_128 : KernelId::mla_prompt_bf16;
}
// Bytes of a row in shared memory: an odd number of 16 bytes, for ldmatrix.
constexpr std::int32_t mla_prompt_stride(std::int32_t columns) { return 2 * columns + 16; }
inline Grid mla_prompt_grid(const MlaPromptArgs& args) {
  return {.blocks_x = static_cast<std::uint32_t>((args.n_rows + kMlaPromptRows - 1) / kMlaPromptRows),
          .blocks_y = static_cast<std::uint32_t>(args.n_heads),
          .threads = kMlaPromptThreads,
          .shared_bytes = static_cast<std::uint32_t>(
              2 * kMlaPromptTile * (mla_prompt_stride(args.nope + args.rope) + mla_prompt_stride(args.value)))};
}
// Of one row.
inline std::uint64_t mla_prompt_operations(const MlaPromptArgs& args, std::int32_t position) {
  return 2 * (static_cast<std::uint64_t>(position) + 1) * static_cast<std::uint64_t>(args.n_heads) *
         static_cast<std::uint64_t>(args.nope + args.rope + args.value);
}

}  // namespace dodeca::gpu
