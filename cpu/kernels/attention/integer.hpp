// Softmax attention in integers: keys, queries, weights and values are whole numbers with float scales, so every dot
// product is an exact sum and every variant gives the same bits. One operation serves both forms of latent attention:
//   absorbed      lanes = heads of a row; a key is a latent cache row, the value is the key itself;
//   decompressed  lanes = rows of a prompt; keys and values are those of one head.
// A lane is one (query row, head): lanes never see each other. A chunk is kChunkPositions consecutive positions.
//
// Numbers (Digits::k8 | k16):
//   key    [key + rope]: scale * q, one scale over the key part, bytes |q| <= 127 | words of words.hpp with blocks of
//          kKeyBlock, and one over the rope part, always words, blocks of kRopeBlock;
//   query  a scale per kKeyBlock key dims, bytes | words, and per kRopeBlock rope dims, words;
//   value  as the key part where it is the key; of a head: a scale of its own, |q| <= 127 | kValueTop;
//   weight per lane and kWeightBlock positions q = p * value scale / weight scale, rounded, where the weight scale is
//          largest / 255                                    |  max(largest / kMostWord, reach / kWeightedSum),
//          largest = the largest p * value scale, reach = p * (largest value of the position), added with fma in order
//          of position: the sum of products is then below 2^31 whatever the values are.
// Bytes and values are rounded by the rule of cpu/kernels/quantize_act/group.hpp.
//
//   s = fma over key blocks, ascending (float(isum), query scale, s); query scales carry the softmax scale;
//   score = s * key scale, then fma over rope blocks, ascending (float(isum) * rope scale, query scale, score);
//   m = max of the scores that are visible and count (FoldArgs); p = exp(score - m) (cpu/kernels/exp.hpp); sum = p added in
//   order of position;
//   t[v] = fma over weight blocks, ascending (float(isum), weight scale, t[v]);
//   state: M = max(old, m), a = exp(old - M), b = exp(m - M): sum = old * a + sum * b, acc[v] = old * a + t[v] * b.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/kernels/attention/integer_kernels.hpp"
#include "cpu/kernels/kernel_list.hpp"

namespace dodeca::cpu {

// The best variant that `isa` can run; the conditions on shapes and memory are with the arguments (integer_kernels.hpp).
// No function allocates or throws. Packed queries and loaded chunks are private to the variant that made them.
const IntegerAttention& integer_attention(Isa isa);
std::span<const KernelVariant<const IntegerAttention>> integer_attention_kernels();

// Rows of a cache of bytes: {float key scale, float rope scale, int8 key[key], int16 rope[rope]}, quantized as above, at
// even addresses. `row` and the decoded `out` are key + rope floats; key is a multiple of 32, rope of 2.
std::size_t int8_row_bytes(std::int64_t key, std::int64_t rope);
void encode_int8_row(const float* row, std::int64_t key, std::int64_t rope, std::byte* out) noexcept;
void decode_int8_row(const std::byte* row, std::int64_t key, std::int64_t rope, float* out) noexcept;

}  // namespace dodeca::cpu
