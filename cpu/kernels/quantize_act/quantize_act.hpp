// Activation rows as the matrix products read them: int8 with one f32 scale per block, and exact integer sums.
//
// kQ8_256, per super-block (Q8Block256): amax over 256; scale = amax/127 (0 when amax is 0); q = round-half-even(x * (127/amax)),
// in [-127, 127]; sums16[g] = sum of q over 16. kQ8_32, per block (Q8Block32): the same over 32 with one sum.
// Same bits at every ISA level: amax is exact, products and rounding are single IEEE operations.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.hpp"
#include "cpu/kernels/matmul/matmul.hpp"

namespace dodeca::cpu {

struct alignas(64) Q8Block256 {
  std::int8_t q[256];
  std::int16_t sums16[16];
  float scale;
  std::int32_t sum;      // of all q
  std::byte pad[24];
};
static_assert(sizeof(Q8Block256) == 320);

struct alignas(4) Q8Block32 {
  std::int8_t q[32];
  float scale;
  std::int32_t sum;
};
static_assert(sizeof(Q8Block32) == 40);

// Bytes of one activation row, rounded up to 64.
std::size_t act_row_bytes(ActFormat format, std::int64_t n);
// x: n floats; dst: act_row_bytes(format, n), 64-byte aligned. n is a multiple of the format's block (1 for kF32: a copy).
void quantize_act(ActFormat format, const float* x, std::int64_t n, std::byte* dst, Isa isa) noexcept;

}  // namespace dodeca::cpu
