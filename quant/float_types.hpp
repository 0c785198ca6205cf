// Small floats <-> float, scalar: IEEE binary16, bfloat16, FP8 E4M3 (the "FN" kind: no infinities, 448 is the largest),
// E8M0 powers of two. Bits come and go as unsigned integers. Rounding is to nearest, ties to even; NaN stays NaN.
// Always inlined, so that files built for one instruction set leave no shared copy behind for the others.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace dodeca::quant {

[[gnu::always_inline]] inline float f16_to_f32(std::uint16_t bits) {
  return static_cast<float>(std::bit_cast<_Float16>(bits));
}
[[gnu::always_inline]] inline std::uint16_t f32_to_f16(float value) {
  return std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
}

// The same for scales: what is too large becomes 65504, NaN becomes 0.
[[gnu::always_inline]] inline std::uint16_t finite_f16(float value) {
  if (value != value) return 0;
  return f32_to_f16(value > 65504.0f ? 65504.0f : value < -65504.0f ? -65504.0f : value);
}

[[gnu::always_inline]] inline float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}
[[gnu::always_inline]] inline std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<std::uint16_t>((bits >> 16) | 64u);  // keep NaN, made quiet
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

[[gnu::always_inline]] inline float e4m3_to_f32(std::uint8_t bits) {
  const std::uint32_t magnitude = bits & 0x7fu;
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x80u) << 24;
  if (magnitude == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  // Normal: move exponent bias 7 to 127. Subnormal: steps of 2^-9.
  const float value = magnitude >= 8u ? std::bit_cast<float>((magnitude << 20) + (120u << 23))
                                      : static_cast<float>(magnitude) * 0x1p-9f;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
}
// Values beyond 448 saturate.
[[gnu::always_inline]] inline std::uint8_t f32_to_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80u);
  if (magnitude > 0x7f800000u) return static_cast<std::uint8_t>(sign | 0x7fu);
  if (magnitude >= 0x43e80000u)
    return static_cast<std::uint8_t>(sign | 0x7eu);  // from 464, halfway to the step after 448
  std::uint32_t code;
  if (magnitude >= 0x3c800000u) {  // 2^-6, the smallest normal
    code = ((magnitude + 0x7ffffu + ((magnitude >> 20) & 1u)) >> 20) - (120u << 3);
  } else {  // adding 1.5 * 2^14 leaves steps of 2^-9 in the last mantissa bits
    code = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0x1.8p14f) & 0xfu;
  }
  return static_cast<std::uint8_t>(sign | (code > 0x7eu ? 0x7eu : code));
}

// E8M0: 2^(bits - 128), half of what it says, the scale that goes with the doubled values of MXFP4; 255 is NaN.
[[gnu::always_inline]] inline float e8m0_half_to_f32(std::uint8_t bits) {
  if (bits == 0xffu) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(bits < 2 ? 0x00200000u << bits : static_cast<std::uint32_t>(bits - 1) << 23);
}

}  // namespace dodeca::quant
