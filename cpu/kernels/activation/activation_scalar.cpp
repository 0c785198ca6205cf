#include "cpu/kernels/activation/activation_kernels.hpp"
#include "cpu/kernels/exp_scalar.hpp"

namespace dodeca::cpu::scalar {

// With e = exp(-|x|), which never overflows: silu = x / (1 + e) for x >= 0, x e / (1 + e) below. The clamp keeps -inf *
// 0 from becoming NaN.
void swiglu(const float* gate, const float* up, std::int64_t n, float* out) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const float x = -0x1.fffffep+127f > gate[i] ? -0x1.fffffep+127f : gate[i];
    const float e = exp_one(-std::fabs(x));
    const float numerator = std::signbit(x) ? x * e : x;
    out[i] = numerator / (1.0f + e) * up[i];
  }
}

}  // namespace dodeca::cpu::scalar
