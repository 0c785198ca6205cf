// Rotary position embedding in place: (a, b) -> (a cos - b sin, a sin + b cos) on pairs of a head's dimensions, which are
// (2i, 2i + 1) or, in models converted that way, (i, i + n_pairs).
#pragma once

#include <cstdint>
#include <vector>

namespace dodeca::cpu {

// cos and sin of position * inv_freq[i], computed in double, as [cos0, sin0, cos1, sin1, ...]: 2 * inv_freq.size()
// floats.
void rope_angles(std::int64_t position, const std::vector<double>& inv_freq, float* cos_sin) noexcept;
// x: 2 * n_pairs floats of one head; cos_sin: as many, from rope_angles(). They do not overlap.
void rope_rotate(float* x, const float* cos_sin, std::int64_t n_pairs) noexcept;
void rope_rotate_halves(float* x, const float* cos_sin, std::int64_t n_pairs) noexcept;

}  // namespace dodeca::cpu
