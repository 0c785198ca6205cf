// Quantized activations as the integer products of processors and devices read them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dodeca::quant {

struct alignas(64) Q8Block256 {
  std::int8_t q[256];
  std::int16_t sums16[16];  // of q, 16 at a time
  std::int16_t sums32[8];   // 32 at a time
  float scale;
  std::int32_t sum;  // of all q
  std::byte pad[8];
};
static_assert(sizeof(Q8Block256) == 320);

struct alignas(4) Q8Block32 {
  std::int8_t q[32];
  float scale;
  std::int32_t sum;
};
static_assert(sizeof(Q8Block32) == 40);

}  // namespace dodeca::quant
