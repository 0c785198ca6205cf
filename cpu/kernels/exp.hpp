// exp(x) in float, the same bits at every ISA level; this file is the scalar definition, exp_avx2.hpp and
// exp_avx512.hpp repeat it lane by lane. At most 1.1 ulp from the true value where that is a normal number; underflow
// goes through the denormals to 0, overflow to infinity, NaN stays NaN.
//
// x = n ln 2 + r, |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 p(r) with p of degree 4 (interpolated at Chebyshev nodes, error
// 4e-9); the scaling by 2^n is done in two exact halves so that only the last product rounds.
#pragma once

namespace dodeca::cpu::exp_constants {

inline constexpr float kLowest = -104.0f;  // below: 0
inline constexpr float kHighest = 89.0f;   // above: infinity
inline constexpr float kLog2E = 0x1.715476p+0f;
inline constexpr float kLn2High = 0x1.62e430p-1f;
inline constexpr float kLn2Low = -0x1.05c610p-29f;
inline constexpr float kRound = 0x1.8p+23f;  // adding it leaves the nearest integer in the low mantissa bits
inline constexpr int kRoundBits = 0x4b400000;
inline constexpr float kC2 = 0.5f, kC3 = 0x1.5554dcp-3f, kC4 = 0x1.55551ap-5f, kC5 = 0x1.120b6ep-7f,
                       kC6 = 0x1.6d110ap-10f;

}  // namespace dodeca::cpu::exp_constants
