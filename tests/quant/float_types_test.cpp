#include "quant/float_types.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

using namespace dodeca::quant;

namespace {

// By the definition of the format, in double.
double e4m3_value(unsigned bits) {
  const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return bits & 0x80 ? -magnitude : magnitude;
}

double f16_value(unsigned bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31) magnitude = mantissa ? NAN : INFINITY;
  return bits & 0x8000 ? -magnitude : magnitude;
}

}  // namespace

TEST_CASE("f16: all 65536 values decode by the definition and survive the round trip") {
  int wrong = 0;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = f16_to_f32(static_cast<std::uint16_t>(bits));
    const double want = f16_value(bits);
    if (std::isnan(want)) {
      wrong += !std::isnan(value) || !std::isnan(f16_to_f32(f32_to_f16(value)));
    } else {
      wrong += static_cast<double>(value) != want || f32_to_f16(value) != bits;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("f16: rounding is to nearest, ties to even; what is too large is infinite, as a scale it is the largest") {
  for (unsigned bits = 0; bits < 0x7bff; ++bits) {
    const double low = f16_value(bits), high = f16_value(bits + 1);
    const auto middle = static_cast<float>((low + high) / 2);  // exact: twelve bits
    REQUIRE(f32_to_f16(middle) == bits + (bits & 1));
    REQUIRE(f32_to_f16(std::nextafter(middle, INFINITY)) == bits + 1);
    REQUIRE(f32_to_f16(std::nextafter(middle, 0.0f)) == bits);
  }
  CHECK(f32_to_f16(65519.0f) == 0x7bff);
  CHECK(f32_to_f16(65520.0f) == 0x7c00);
  CHECK(finite_f16(65520.0f) == 0x7bff);
  CHECK(finite_f16(-INFINITY) == 0xfbff);
  CHECK(finite_f16(NAN) == 0);
}

TEST_CASE("bf16: round to nearest even, NaN stays a quiet NaN") {
  CHECK(f32_to_bf16(1.0f) == 0x3f80);
  CHECK(f32_to_bf16(std::bit_cast<float>(0x3f808000u)) == 0x3f80);  // tie to even, down
  CHECK(f32_to_bf16(std::bit_cast<float>(0x3f818000u)) == 0x3f82);  // tie to even, up
  CHECK(f32_to_bf16(std::bit_cast<float>(0x3f808001u)) == 0x3f81);
  CHECK(f32_to_bf16(std::bit_cast<float>(0x7f800001u)) == 0x7fc0);  // a NaN whose payload is in the dropped bits
  CHECK(f32_to_bf16(std::bit_cast<float>(0xff812345u)) == 0xffc1);
  CHECK(f32_to_bf16(INFINITY) == 0x7f80);
  CHECK(f32_to_bf16(-0.0f) == 0x8000);
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = bf16_to_f32(static_cast<std::uint16_t>(bits));
    if (!std::isnan(value)) REQUIRE(f32_to_bf16(value) == bits);
  }
}

TEST_CASE("FP8 E4M3: all 256 values") {
  for (unsigned bits = 0; bits < 256; ++bits) {
    CAPTURE(bits);
    const float value = e4m3_to_f32(static_cast<std::uint8_t>(bits));
    if ((bits & 0x7f) == 0x7f) {
      CHECK(std::isnan(value));
      CHECK((f32_to_e4m3(value) & 0x7f) == 0x7f);
      continue;
    }
    CHECK(static_cast<double>(value) == e4m3_value(bits));
    CHECK(std::signbit(value) == (bits >= 128));
    CHECK(f32_to_e4m3(value) == bits);
  }
  CHECK(e4m3_to_f32(0x01) == 0.001953125f);
  CHECK(e4m3_to_f32(0x08) == 0.015625f);
  CHECK(e4m3_to_f32(0x38) == 1.0f);
  CHECK(e4m3_to_f32(0x3c) == 1.5f);
  CHECK(e4m3_to_f32(0x77) == 240.0f);
  CHECK(e4m3_to_f32(0xb8) == -1.0f);
  CHECK(e4m3_to_f32(0x7e) == 448.0f);
}

TEST_CASE("FP8 E4M3: nearest, ties to even, saturating") {
  for (unsigned bits = 0; bits < 0x7e; ++bits) {
    const auto middle = static_cast<float>((e4m3_value(bits) + e4m3_value(bits + 1)) / 2);
    CAPTURE(bits);
    REQUIRE(f32_to_e4m3(middle) == bits + (bits & 1));
    REQUIRE(f32_to_e4m3(std::nextafter(middle, INFINITY)) == bits + 1);
    REQUIRE(f32_to_e4m3(std::nextafter(middle, 0.0f)) == bits);
    REQUIRE(f32_to_e4m3(-middle) == (0x80 | (bits + (bits & 1))));
  }
  for (const float large : {449.0f, 464.0f, 1e6f, 3e38f, INFINITY}) {
    CHECK(f32_to_e4m3(large) == 0x7e);
    CHECK(f32_to_e4m3(-large) == 0xfe);
  }
  CHECK(f32_to_e4m3(1e-30f) == 0);
  CHECK(f32_to_e4m3(-1e-30f) == 0x80);
}

TEST_CASE("E8M0 half scales") {
  CHECK(e8m0_half_to_f32(0) == 0x1p-128f);
  CHECK(e8m0_half_to_f32(1) == 0x1p-127f);
  CHECK(e8m0_half_to_f32(127) == 0.5f);
  CHECK(e8m0_half_to_f32(254) == 0x1p126f);
  CHECK(std::isnan(e8m0_half_to_f32(255)));
  for (int bits = 0; bits < 255; ++bits) {
    CHECK(static_cast<double>(e8m0_half_to_f32(static_cast<std::uint8_t>(bits))) == std::ldexp(1.0, bits - 128));
  }
}
