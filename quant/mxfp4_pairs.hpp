// MXFP4 as OpenAI's checkpoints have it: codes of neighbours share a byte, and scales lie apart. GGUF's blocks have the
// same codes and scales in another order, so nothing is rounded.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dodeca::quant {

inline constexpr std::int64_t kMxfp4Block = 32;

// codes: 16 bytes for each block, value 2k in the low half of byte k and 2k + 1 in the high one. scales: a byte (E8M0)
// for each. dst: blocks of kMXFP4.
void mxfp4_pairs_to_blocks(const std::byte* codes, const std::byte* scales, std::int64_t n_blocks,
                           std::byte* dst) noexcept;

}  // namespace dodeca::quant
