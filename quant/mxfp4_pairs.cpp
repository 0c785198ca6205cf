#include "quant/mxfp4_pairs.hpp"

namespace dodeca::quant {

void mxfp4_pairs_to_blocks(const std::byte* codes, const std::byte* scales, std::int64_t n_blocks,
                           std::byte* dst) noexcept {
  constexpr std::int64_t kHalf = kMxfp4Block / 2;
  const auto code = [](const std::byte* block, std::int64_t i) { return block[i / 2] >> (i % 2 * 4) & std::byte{15}; };
  for (std::int64_t b = 0; b < n_blocks; ++b, codes += kHalf) {
    *dst++ = scales[b];
    for (std::int64_t k = 0; k < kHalf; ++k) *dst++ = code(codes, k) | code(codes, k + kHalf) << 4;
  }
}

}  // namespace dodeca::quant
