#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/kernels/chunk_max/chunk_max_kernels.hpp"

namespace dodeca::cpu::scalar {

void chunk_maxima(const float* values, std::int64_t n, float* maxima) noexcept {
  for (std::int64_t begin = 0; begin < n; begin += kMaxChunk) {
    const float *first = values + begin, *last = values + std::min(begin + kMaxChunk, n);
    const bool has_nan = std::any_of(first, last, [](float value) { return std::isnan(value); });
    *maxima++ = has_nan ? std::numeric_limits<float>::quiet_NaN() : *std::max_element(first, last) + 0.0f;
  }
}

}  // namespace dodeca::cpu::scalar
