// MLA attention in absorbed form over latent cache rows: the heads are the M dimension, one cache row [latent | rope]
// serves them all, and the value is the row's latent part (DeepSeek-V2 paper, section 2.1.2 and appendix C).
//
// Work unit: (query row, context block). A block holds kContextBlock positions; partial results are merged in block
// order, so the bits do not depend on who computed what. Heads are independent: several query rows that see the same
// positions may be passed as one matrix of rows * heads.
#pragma once

#include <span>

#include "cpu/isa.hpp"
#include "cpu/kernels/attention/attention_kernels.hpp"
#include "cpu/kernels/kernel_list.hpp"

namespace dodeca::cpu {

// Reads rows of one cache block into floats [n, width].
void decode_cache_rows(const CacheRows& from, float* out, Isa isa) noexcept;

// Folds one block into the running (max, sum, acc): online softmax. Start with max = -inf, sum = 0, acc = 0.
void mla_block(const MlaBlockArgs& args, Isa isa) noexcept;

std::span<const KernelVariant<MlaBlockFn>> mla_block_kernels();
std::span<const KernelVariant<DecodeRowsFn>> decode_cache_rows_kernels();

}  // namespace dodeca::cpu
