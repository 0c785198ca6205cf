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

// As above, with e = exp(-1.702 |g|). The lower clamp, beside -inf, changes nothing: from -100 on the quotient is 0.
void clamped_swiglu(const float* gate, const float* up, std::int64_t n, float* out) noexcept {
  constexpr float kLimit = 7.0f, kSlope = 1.702f, kLowest = -100.0f;
  for (std::int64_t i = 0; i < n; ++i) {
    float g = kLowest > gate[i] ? kLowest : gate[i];
    g = kLimit < g ? kLimit : g;
    float u = -kLimit > up[i] ? -kLimit : up[i];
    u = kLimit < u ? kLimit : u;
    const float e = exp_one(-std::fabs(kSlope * g));
    const float numerator = std::signbit(g) ? g * e : g;
    out[i] = numerator / (1.0f + e) * (u + 1.0f);
  }
}

}  // namespace dodeca::cpu::scalar
